// Draws api/state: the offices as rooms, the people in them, calls and moves. It asks every two seconds
// while somebody looks, and says so when the program no longer answers.
"use strict";

const $ = (id) => document.getElementById(id);
const tints = 6; // --o0 … --o5 in page.css
let state = null;

// el makes an element; children are nodes or text, so nothing a phone sends is ever read as HTML.
function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k === "tint") e.style.setProperty("--tint", `var(--o${v % tints})`);
    else if (v !== undefined && v !== false) e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

// tint is the colour of an office: its place in the list, or a sum of its letters for offices elsewhere.
function tint(office) {
  const i = state.places.findIndex((p) => p.office === office);
  return i >= 0 ? i : [...office].reduce((n, c) => n + c.charCodeAt(0), 0);
}

const officeName = (office) => el("span", { class: "office", tint: tint(office) }, office);
const short = (user) => user.split("@")[0];

function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${String(Math.floor(s / 60)).padStart(2, "0")}:${String(s % 60).padStart(2, "0")}`;
}

const ago = (t) => (new Date(state.now) - new Date(t)) / 1000;

function matches(p, words) {
  const text = `${p.user} ${p.name || ""} ${p.number || ""} ${p.at || ""}`.toLowerCase();
  return words.every((w) => text.includes(w));
}

// people merges what home and visited offices say of the same user: home knows the name, the visited office the phone.
function people() {
  const all = new Map();
  for (const p of state.people) {
    const known = all.get(p.user);
    if (!known) { all.set(p.user, { ...p }); continue; }
    const home = p.visitor ? known : p, visit = p.visitor ? p : known;
    all.set(p.user, { ...visit, ...home, phones: home.at === visit.at && visit.phones ? visit.phones : home.phones });
  }
  return [...all.values()].sort((a, b) => a.user.localeCompare(b.user, "en", { numeric: true }));
}

function person(p, talking) {
  const phone = (p.phones || [])[0];
  const visiting = p.at !== p.home;
  return el("li", { class: `person${visiting ? " visitor" : ""}${talking.has(p.user) ? " talking" : ""}`, tint: tint(p.home), title: p.user },
    el("div", null, el("b", null, short(p.user)), " ", el("span", null, p.name || p.number || "")),
    el("span", { class: "where" }, visiting ? `of ${p.home}` : "", visiting && p.since ? ` · ${span(ago(p.since))}` : ""),
    phone ? el("span", { class: "phone" }, [phone.agent, phone.addr, (phone.transport || "").toLowerCase(), phone.spot && [phone.spot.port || phone.spot.subnet, phone.spot.site].filter(Boolean).join(", ")].filter(Boolean).join("  ")) : null);
}

function place(o, all, talking) {
  const here = all.filter((p) => p.at === o.office);
  const away = all.filter((p) => p.home === o.office && p.at && p.at !== o.office);
  const off = all.filter((p) => p.home === o.office && !p.at);
  const address = (o.listen[0] || "").replace(/^[a-z]+:/, "");
  return el("article", { class: "place", tint: tint(o.office) },
    el("h3", null, o.office, " ", el("small", null, o.domain)),
    el("p", { class: "facts" }, address, o.store === "up" ? "" : el("span", { class: "bad" }, " · routing store away"),
      ` · ${o.calls} ${o.calls === 1 ? "call" : "calls"}`,
      o.dhcp ? ` · ${o.dhcp.bound} of ${o.dhcp.bound + o.dhcp.free + o.dhcp.offered + o.dhcp.declined} addresses given` : "",
      o.dhcp && !o.dhcp.serves ? el("span", { class: "bad" }, " · DHCP is not served") : ""),
    el("ul", { class: "people" }, ...here.map((p) => person(p, talking))),
    here.length ? null : el("p", { class: "none" }, "nobody is here"),
    away.length ? el("p", { class: "gone" }, "away: ", ...away.flatMap((p, i) => [i ? ", " : "", short(p.user), " in ", officeName(p.at)])) : null,
    off.length ? el("p", { class: "gone" }, "offline: ", off.slice(0, 12).map((p) => short(p.user)).join(", ") + (off.length > 12 ? " …" : "")) : null);
}

function call(c) {
  const row = el("tr", null, ...[c.id, c.answered ? span(ago(c.answered)) : "–", c.from, c.to, c.kind, c.state, c.codec || ""].map((t) => el("td", null, t)));
  row.append(el("td", { class: "num" }, `${c.lost[0].toFixed(1)}/${c.lost[1].toFixed(1)} %`));
  return row;
}

function move(m) {
  return el("li", null, el("time", { datetime: m.time }, new Date(m.time).toLocaleTimeString()), el("b", null, short(m.user)),
    el("span", null, m.from ? officeName(m.from) : "nowhere", " → ", m.to ? officeName(m.to) : "nowhere"), el("span", { class: "why" }, m.why || ""));
}

function draw() {
  const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const talking = new Set(state.calls.flatMap((c) => [c.from, c.to]));
  const all = people();
  const shown = all.filter((p) => matches(p, words));
  $("places").replaceChildren(...state.places.map((o) => place(o, shown, talking)));
  const icids = new Set();
  const calls = state.calls.filter((c) => !c.icid || (!icids.has(c.icid) && icids.add(c.icid)));
  $("calls").tBodies[0].replaceChildren(...calls.map(call));
  $("calls").hidden = !calls.length;
  $("no-calls").hidden = !!calls.length;
  const moves = [...state.moves].sort((a, b) => (a.time < b.time ? 1 : -1)).slice(0, 12);
  $("moves").replaceChildren(...moves.map(move));
  $("no-moves").hidden = !!moves.length;
  const online = all.filter((p) => p.at).length, roaming = all.filter((p) => p.at && p.at !== p.home).length;
  const silent = (state.silent || []).map((o) => `${o} does not answer`).join(", ");
  $("summary").className = silent ? "away" : "";
  $("summary").textContent = [`${state.places.length} ${state.places.length === 1 ? "office" : "offices"}`, `${online} online`, `${roaming} roaming`, `${calls.length} talking`, silent].filter(Boolean).join(" · ");
  $("version").textContent = `siproam ${state.version}`;
}

async function ask() {
  try {
    const answer = await fetch("api/state", { signal: AbortSignal.timeout(4000) });
    state = await answer.json();
    draw();
  } catch (e) {
    $("summary").className = "away";
    $("summary").textContent = "siproam does not answer; this is what it said last";
  }
}

$("find").addEventListener("input", () => state && draw());
document.addEventListener("visibilitychange", () => document.hidden || ask());
ask();
setInterval(() => document.hidden || ask(), 2000);
