package sip_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/sip"
)

const messages = "../testdata/sip/"

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(messages + file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verdict is what Parse made of b, as verdicts.tsv writes it.
func verdict(b []byte) (parser, stream string) {
	err := sip.Parse(b, new(sip.Message))
	if err == nil {
		return "accept", "-"
	}
	var r *sip.Refused
	if !errors.As(err, &r) {
		return "not a *Refused", "-"
	}
	stream = "-"
	if r.Close {
		stream = "close"
	}
	if r.Code == 0 {
		return "drop", stream
	}
	return strconv.Itoa(r.Code), stream
}

// TestTorture holds verdicts.tsv, and that no file is without one.
func TestTorture(t *testing.T) {
	files := map[string]bool{}
	for _, dir := range []string{"rfc4475", "rfc5118"} {
		entries, err := os.ReadDir(messages + dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			files[dir+"/"+e.Name()] = strings.HasSuffix(e.Name(), ".dat")
		}
	}
	judged := map[string]int{}
	for line := range strings.Lines(string(read(t, "verdicts.tsv"))) {
		c := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(c) != 6 || c[0] == "file" {
			continue
		}
		if !files[c[0]] {
			t.Errorf("%s: judged but not there, or judged twice", c[0])
			continue
		}
		files[c[0]] = false
		judged[c[0][:len("rfc4475")]]++
		if parser, stream := verdict(read(t, c[0])); parser != c[2] || stream != c[3] {
			t.Errorf("%s (%s, %s): got %s %s, want %s %s", c[0], c[1], c[5], parser, stream, c[2], c[3])
		}
	}
	for file, left := range files {
		if left {
			t.Errorf("%s has no verdict", file)
		}
	}
	if judged["rfc4475"] != 50 || judged["rfc5118"] != 15 {
		t.Errorf("got %v, want 49 and 12 messages and their variants", judged)
	}
}

// streamed is what the reader of a stream makes of it, cut at places: each message with Parse's verdict, pings, and the
// refusal that ends it.
func streamed(stream []byte, places []int) string {
	var f sip.Framer
	var out strings.Builder
	for i, place := range append(places, len(stream)) {
		from := 0
		if i > 0 {
			from = places[i-1]
		}
		f.Feed(stream[from:place])
		for {
			msg, ping, err := f.Next()
			if msg == nil && !ping && err == nil {
				break
			}
			parser, closing := verdict(msg)
			var r *sip.Refused
			if errors.As(err, &r) {
				fmt.Fprintf(&out, "%d %s ", r.Code, r.Reason)
			}
			fmt.Fprintf(&out, "%v %s %s %q\n", ping, parser, closing, msg)
			if err != nil || !ping && closing == "close" {
				return out.String() + "closed"
			}
		}
	}
	return fmt.Sprint(out.String(), "open ", f.Partial())
}

// TestTortureCut cuts each message, with a good one behind it, 1,000 times at one to sixty random places, and between all
// octets: the result is that of the message in one piece.
func TestTortureCut(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 2))
	files, err := filepath.Glob(messages + "rfc*/*.dat")
	if err != nil || len(files) != 65 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	for _, file := range files {
		stream := append(read(t, strings.TrimPrefix(file, messages)), after...)
		want := streamed(stream, nil)
		for cut := range 1000 {
			places := make([]int, 1+random.IntN(1+cut%60))
			for i := range places {
				places[i] = random.IntN(len(stream))
			}
			slices.Sort(places)
			if got := streamed(stream, places); got != want {
				t.Fatalf("%s cut at %v (seed %d):\ngot  %s\nwant %s", file, places, seed, got, want)
			}
		}
		bytewise := make([]int, len(stream))
		for i := range bytewise {
			bytewise[i] = i
		}
		if got := streamed(stream, bytewise); got != want {
			t.Errorf("%s octet by octet:\ngot  %s\nwant %s", file, got, want)
		}
	}
}

// torture parses one of the messages.
func torture(t *testing.T, file string) *sip.Message {
	t.Helper()
	m := new(sip.Message)
	if err := sip.Parse(read(t, file), m); err != nil {
		t.Fatal(file, err)
	}
	return m
}

func values(m *sip.Message, n sip.Name) (all []string) {
	for v := range m.Values(n) {
		all = append(all, string(v))
	}
	return all
}

func TestWsinv(t *testing.T) {
	m := torture(t, "rfc4475/wsinv.dat")
	if got := m.ToTag(); got != "1918181833n" {
		t.Errorf("To tag: got %q", got)
	}
	if got := m.FromTag(); got != "98asjd8" {
		t.Errorf("From tag: got %q", got)
	}
	if v, found := m.Seconds(sip.MaxForwards); v != 68 || !found {
		t.Errorf("Max-Forwards: got %d", v)
	}
	if m.CSeq() != 9 || m.Method() != sip.INVITE {
		t.Errorf("CSeq: got %d %s", m.CSeq(), m.MethodText())
	}
	if v := m.Value(sip.Subject); v == nil || len(v) != 0 {
		t.Errorf("Subject: got %q, want it there and empty", v)
	}
	if got := string(m.Other("unknownheaderwithunusualvalue")); got != ";;,,;;,;" {
		t.Errorf("unknown field: got %q", got)
	}
	if got := string(m.Other("NewFangledHeader")); got != "newfangled value continued newfangled value" {
		t.Errorf("folded field: got %q", got)
	}
	from, err := m.From()
	if err != nil || from.Display != `J Rosenberg \"` || from.URI.String() != "sip:jdrosen@example.com" {
		t.Errorf("From: got %+v, %v", from, err)
	}
	vias := values(m, sip.Via)
	if len(vias) != 3 {
		t.Fatalf("Via: got %q, want 3", vias)
	}
	for i, want := range []string{
		"SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
		"SIP/2.0/TCP spindle.example.com;branch  =   z9hG4bK9ikj8",
		"SIP/2.0/UDP 192.168.255.111;branch= z9hG4bK30239",
	} {
		if v, err := sip.ParseVia([]byte(vias[i])); err != nil || v.String() != want {
			t.Errorf("Via %d: got %s, %v, want %s", i, v, err, want)
		}
	}
	contact, err := sip.ParseAddress(m.Value(sip.Contact))
	q, _ := contact.Params.Get("q")
	p, _ := contact.Params.Get("newparam")
	if _, found := contact.Params.Get("SecondParam"); err != nil || contact.Display != `Quoted string ""` || q != "0.33" || p != "newvalue" || !found {
		t.Errorf("Contact: got %+v, %v", contact, err)
	}
	if len(m.Body()) != 150 {
		t.Errorf("body: got %d octets, want 150", len(m.Body()))
	}
}

func TestIntmeth(t *testing.T) {
	m := torture(t, "rfc4475/intmeth.dat")
	if m.Method() != sip.Other || m.MethodText() != "!interesting-Method0123456789_*+`.%indeed'~" {
		t.Errorf("method: got %s", m.MethodText())
	}
	to, err := m.To()
	if err != nil || to.Display != "BEL:\x07 NUL:\x00 DEL:\x7f" {
		t.Errorf("To: got %q, %v", to.Display, err)
	}
	u, err := sip.ParseURI(m.RequestURI())
	if err != nil || u.User != "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*" || u.Password != "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)" || u.Host != "example.com" {
		t.Errorf("Request-URI: got %+v, %v", u, err)
	}
	if got := m.FromTag(); got != "_token~1'+`*%!-." {
		t.Errorf("From tag: got %q", got)
	}
	var w sip.Writer
	w.Response(m, 501, "", "t")
	if err := w.End("", nil); err != nil || !bytes.Contains(w.Bytes(), m.Value(sip.To)) {
		t.Errorf("an answer that repeats To: got %v", err)
	}
}

func TestEscapes(t *testing.T) {
	m := torture(t, "rfc4475/esc01.dat")
	u, err := sip.ParseURI(m.RequestURI())
	if err != nil || u.Scheme != "sip" || u.User != "sips:user@example.com" || u.Host != "example.net" {
		t.Errorf("Request-URI: got %+v, %v", u, err)
	}
	if got := u.String(); got != "sip:sips%3Auser%40example.com@example.net" {
		t.Errorf("Request-URI printed: got %s", got)
	}
	to, _ := m.To()
	if v, _ := sip.ParseURI([]byte("sip:user@example.com")); !to.URI.Equal(v) {
		t.Errorf("To: got %+v", to.URI)
	}
	contact, err := sip.ParseAddress(m.Value(sip.Contact))
	name, _ := contact.URI.Params.Get("name")
	if _, lr := contact.URI.Params.Get("lr"); err != nil || !lr || name != "value%2541" || contact.URI.User != "caller" {
		t.Errorf("Contact: got %+v, %v", contact.URI, err)
	}

	m = torture(t, "rfc4475/escnull.dat")
	contacts := values(m, sip.Contact)
	if len(contacts) != 2 {
		t.Fatalf("escnull: got %q", contacts)
	}
	a, _ := sip.ParseAddress([]byte(contacts[0]))
	b, _ := sip.ParseAddress([]byte(contacts[1]))
	if a.URI.User != "\x00" || b.URI.User != "\x00\x00" || a.URI.Equal(b.URI) || a.URI.String() != "sip:%00@host5.example.com" {
		t.Errorf("escnull: got %+v and %+v", a.URI, b.URI)
	}

	m = torture(t, "rfc4475/esc02.dat")
	if m.Method() != sip.Other || m.MethodText() != "RE%47IST%45R" {
		t.Errorf("esc02: method %v %s", m.Method(), m.MethodText())
	}
	if got := values(m, sip.Contact); len(got) != 2 {
		t.Errorf("esc02: contacts %q, want 2", got)
	}
	if from, _ := m.From(); from.Display != "%Z%45" {
		t.Errorf("esc02: display %q", from.Display)
	}
}

func TestAcceptedTortureReadsRight(t *testing.T) {
	if m := torture(t, "rfc4475/longreq.dat"); len(values(m, sip.Via)) != 34 {
		t.Errorf("longreq: got %d Vias, want 34", len(values(m, sip.Via)))
	}
	if m := torture(t, "rfc4475/dblreq.dat"); m.Method() != sip.REGISTER || len(m.Body()) != 0 || m.CallID() != "dblreq.0ha0isndaksdj99sdfafnl3lk233412" {
		t.Errorf("dblreq: got %s with %q", m.MethodText(), m.Body())
	}
	if u, err := sip.ParseURI(torture(t, "rfc4475/semiuri.dat").RequestURI()); err != nil || u.User != "user;par=u@example.net" || u.Params != "" {
		t.Errorf("semiuri: got %+v, %v", u, err)
	}
	if v, err := torture(t, "rfc4475/transports.dat").TopVia(); err != nil || v.Transport != "UDP" {
		t.Errorf("transports: got %+v, %v", v, err)
	}
	if m := torture(t, "rfc4475/mpart01.dat"); len(m.Body()) != 553 || bytes.IndexByte(m.Body(), 0) < 0 {
		t.Errorf("mpart01: got %d octets", len(m.Body()))
	}
	if m := torture(t, "rfc4475/unreason.dat"); m.Status() != 200 || !strings.HasPrefix(m.Reason(), "= 2**3 * 5**2 но") {
		t.Errorf("unreason: got %d %s", m.Status(), m.Reason())
	}
	if m := torture(t, "rfc4475/noreason.dat"); m.Status() != 100 || m.Reason() != "" {
		t.Errorf("noreason: got %d %q", m.Status(), m.Reason())
	}
	if m := torture(t, "rfc4475/badbranch.dat"); m.Branch() != "" {
		t.Errorf("badbranch: got %q, want it to be RFC 2543's", m.Branch())
	}
	if m := torture(t, "rfc4475/inv2543.dat"); m.Branch() != "" || m.FromTag() != "" || len(m.Body()) == 0 {
		t.Errorf("inv2543: got branch %q, tag %q, %d octets", m.Branch(), m.FromTag(), len(m.Body()))
	}
	if m := torture(t, "rfc4475/bcast.dat"); len(values(m, sip.Via)) != 2 {
		t.Errorf("bcast: got %q", values(m, sip.Via))
	}
	unksm2 := torture(t, "rfc4475/unksm2.dat")
	to, err := unksm2.To()
	if _, bad := to.URI.AOR(); err != nil || bad == nil || to.Raw != "isbn:2983792873" {
		t.Errorf("unksm2: got %+v, %v and an AOR", to, err)
	}
	for file, where := range map[string]string{"cparam01": "header", "cparam02": "URI"} {
		a, err := sip.ParseAddress(torture(t, "rfc4475/"+file+".dat").Value(sip.Contact))
		_, inHeader := a.Params.Get("unknownparam")
		_, inURI := a.URI.Params.Get("unknownparam")
		if err != nil || inHeader != (where == "header") || inURI != (where == "URI") {
			t.Errorf("%s: got %+v, %v, want the parameter in the %s", file, a, err, where)
		}
	}
	a, err := sip.ParseAddress(torture(t, "rfc4475/regescrt.dat").Value(sip.Contact))
	if err != nil || a.URI.Headers != "Route=%3Csip:sip.example.com%3E" || a.Raw != "sip:user@example.com?Route=%3Csip:sip.example.com%3E" {
		t.Errorf("regescrt: got %+v, %v", a, err)
	}
}

func TestIPv6Torture(t *testing.T) {
	for file, want := range map[string]sip.URI{
		"ipv6-good":        {Scheme: "sip", Host: "[2001:db8::10]"},
		"port-ambiguous":   {Scheme: "sip", Host: "[2001:db8::10:5070]"},
		"port-unambiguous": {Scheme: "sip", Host: "[2001:db8::10]", Port: 5070},
	} {
		if u, err := sip.ParseURI(torture(t, "rfc5118/"+file+".dat").RequestURI()); err != nil || u != want {
			t.Errorf("%s: got %+v, %v, want %+v", file, u, err, want)
		}
	}
	for file, want := range map[string]string{"with": "[2001:db8::9:255]", "no": "2001:db8::9:255"} {
		v, err := torture(t, "rfc5118/via-received-param-"+file+"-delim.dat").TopVia()
		if got, _ := v.Params.Get("received"); err != nil || got != want {
			t.Errorf("%s brackets: got %s, %v, want %s", file, got, err, want)
		}
	}
	mapped := torture(t, "rfc5118/ipv4-mapped-ipv6.dat")
	a, err := sip.ParseAddress(mapped.Value(sip.Contact))
	if plain, _ := sip.ParseURI([]byte("sip:ted@192.0.2.2")); err != nil || !a.URI.Equal(plain) {
		t.Errorf("mapped address: got %+v, %v, want it to equal 192.0.2.2", a.URI, err)
	}
	for file, want := range map[string]int{"ipv6-in-sdp": 241, "ipv6-in-sdp.clfix": 251} {
		if got := len(torture(t, "rfc5118/"+file+".dat").Body()); got != want {
			t.Errorf("%s: got a body of %d, want %d", file, got, want)
		}
	}
}
