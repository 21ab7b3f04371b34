package registrar

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/store"
)

// backup is every row of an office's file.
type backup map[string][][]any

var backedUp = map[string]int{"users": 2, "homes": 2, "visits": 3, "registrar_keys": 2} // tables, and their columns

func (o *site) backup() backup {
	time.Sleep(time.Second) // drift
	synctest.Wait()
	b := backup{}
	for table, columns := range backedUp {
		rows, err := o.file.Query(context.Background(), `SELECT * FROM `+table)
		if err != nil {
			o.w.t.Fatal(err)
		}
		for rows.Next() {
			row, into := make([]any, columns), make([]any, columns)
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				o.w.t.Fatal(err)
			}
			b[table] = append(b[table], row)
		}
		rows.Close()
	}
	return b
}

// restore is a process that starts from a file like b.
func (o *site) restore(b backup) {
	o.stop()
	o.file, o.running = nil, nil
	f, err := store.Open(":memory:", Schema)
	if err != nil {
		o.w.t.Fatal(err)
	}
	o.file = f
	for table, rows := range b {
		for _, row := range rows {
			if err := f.Write(store.Write{Change: func(tx store.Tx) error {
				_, err := tx.Exec(`INSERT INTO `+table+` VALUES (?`+strings.Repeat(`, ?`, len(row)-1)+`)`, row...)
				return err
			}}); err != nil {
				o.w.t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan struct{})
	go func() { f.Run(ctx); close(end) }()
	o.running = func() { cancel(); <-end; f.Close() }
	synctest.Wait()
	o.start()
	synctest.Wait()
}

// epoch is what R holds of alice.
func (w *world) epoch() roam.Epoch {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.r.floor[alice]
}

// sweeps is routesrv's sweep of an office.
func (w *world) sweeps(o roam.OfficeID) {
	w.on(o, func(s *Server) {
		for _, one := range s.Owned("", 100) {
			w.r.mu.Lock()
			now := w.r.at[one.User]
			now.Epoch = w.r.floor[one.User]
			w.r.mu.Unlock()
			if now.Epoch > one.At.Epoch {
				s.Ahead(one.User, now)
			}
		}
	})
}

// Home's file is from before two moves: the visited office, told that home has started, says where alice is.
func TestRestoredHome(t *testing.T) {
	for _, silent := range []bool{false, true} { // the visited office is cut off at first
		inWorld(t, func(w *world) {
			p := w.phone()
			p.register()
			old, inWest := w.offices["north"].backup(), time.Time{}
			for _, o := range []roam.OfficeID{"west", "south"} {
				if got := p.carry(o).register(); got != 200 {
					t.Fatalf("at %s: got %d, want 200", o, got)
				}
				if o == "west" {
					inWest = time.Now()
					time.Sleep(10 * time.Minute) // clocks may differ by less
				}
			}
			served := func(o roam.OfficeID, when time.Time, want bool, unsure error) {
				t.Helper()
				if got, err := w.offices["north"].reg.Served(context.Background(), alice, o, when); got != want || err != unsure {
					t.Errorf("west served alice %v before: got %v, %v, want %v, %v", time.Since(when), got, err, want, unsure)
				}
			}
			served("west", inWest, true, nil)
			p.register()
			w.agree("south")
			before := w.epoch()
			w.mu.Lock()
			w.cut["south"] = silent
			w.mu.Unlock()
			w.offices["north"].restore(old)
			w.sweeps("north")
			if silent {
				served("west", inWest, false, roam.TooBusy) // nobody has shown yet that the file is old
				w.on("north", func(s *Server) {
					line, _ := s.Line(alice)
					if n := len(line.Targets); n != 2 || line.Targets[1].Office != "south" {
						t.Errorf("calls ring %+v, want south, which R names, too", line.Targets)
					}
				})
				time.Sleep(2 * time.Minute)
				if got := w.epoch(); got != before {
					t.Errorf("R holds %d, want %d: home does not contradict an office that has not heard of its start", got, before)
				}
				w.mu.Lock()
				w.cut["south"] = false
				w.mu.Unlock()
				time.Sleep(mostPause)
			}
			time.Sleep(10 * time.Second)
			w.agree("south")
			served("west", inWest, true, nil) // who was there in the time that was lost says itself
			served("west", time.Now(), false, map[bool]error{false: roam.TooBusy}[silent])
			if after := w.epoch(); after < before {
				t.Errorf("epoch went from %d back to %d", before, after)
			}
			if got := p.carry("west").register(); got != 200 {
				t.Errorf("the next move: got %d, want 200", got)
			}
			w.agree("west")
			if got := p.carry("north").register(); got != 200 {
				t.Errorf("the way home: got %d, want 200", got)
			}
			w.agree("north")
		})
	}
}

// What R holds above an old file, and no office confirms, home says again above it: else nothing it says would ever count.
func TestRestoredAndNobodyThere(t *testing.T) {
	inWorld(t, func(w *world) {
		old := w.offices["north"].backup()
		p := w.phone()
		p.register()
		p.expires = 0
		p.register()
		w.agree("")
		before := w.epoch()
		w.offices["north"].restore(old)
		w.sweeps("north")
		time.Sleep(believeAfter + time.Second)
		if got := w.epoch(); got <= before {
			t.Errorf("R holds %d, want above %d", got, before)
		}
		w.agree("")
		p.expires = 300
		if got := p.carry("south").register(); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		w.agree("south")
	})
}

// An account from after the file is known to nobody: its visit elsewhere lasts until its phone must ask home again.
func TestRestoredWithoutTheAccount(t *testing.T) {
	inWorld(t, func(w *world) {
		old := w.offices["north"].backup()
		w.add("north", "1009", "new")
		p := w.phone()
		p.login, p.password, p.to = "1009", "secret-1009", "sip:1009@north.example"
		if got := p.carry("south").register(); got != 200 {
			t.Fatalf("got %d, want 200", got)
		}
		w.offices["north"].restore(old)
		time.Sleep(time.Minute)
		w.on("south", func(s *Server) {
			if !s.here("1009@north.example") {
				t.Error("the visit ended though home has not said so")
			}
		})
		p.nonce = ""
		if got := p.register(); got != 401 && got != 403 && got != 404 {
			t.Errorf("refresh: got %d, want a refusal", got)
		}
		w.add("north", "1009", "new")
		p.nonce = ""
		if got := p.register(); got != 200 {
			t.Errorf("added again: got %d, want 200", got)
		}
	})
}

// The visited office's file is from before alice left it: home says that this is over.
func TestRestoredVisited(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.register()
		old := w.offices["south"].backup()
		p.carry("west").register()
		w.agree("west")
		w.offices["south"].restore(old)
		time.Sleep(heedEvery)
		w.agree("west")
	})
}

// An office that was dead while its visitor moved on hears of it as soon as it starts, not at the next of ever rarer tries.
func TestToldAtItsStart(t *testing.T) {
	for _, returns := range []bool{false, true} { // it was only cut off, and is seen to live again
		inWorld(t, func(w *world) {
			p := w.phone().carry("south")
			p.register()
			w.mu.Lock()
			w.cut["south"] = true
			w.mu.Unlock()
			p.expires = 3600
			p.carry("north").register()
			for range 10 { // ever rarer tries, while it would still be remembered
				p.register()
				time.Sleep(15 * time.Second)
			}
			w.on("north", func(s *Server) {
				if owed := s.users[alice].home.Owed; len(owed) != 1 {
					t.Fatalf("home owes %v, want the notice to south", owed)
				}
			})
			w.mu.Lock()
			w.cut["south"] = false
			w.mu.Unlock()
			if returns {
				w.on("north", func(s *Server) { s.Returned("south") })
			} else {
				w.offices["south"].restart()
			}
			time.Sleep(time.Second)
			if w.agree("north"); t.Failed() {
				t.Fatalf("returns %v: %v", returns, w.ladder)
			}
		})
	}
}

// Only an office may say that it has started, and a message like that from a phone, or a broken one, does nothing.
func TestStartFromNobody(t *testing.T) {
	inWorld(t, func(w *world) {
		time.Sleep(heedEvery)
		started, said := 0, 0 // each notice has a transaction of its own
		w.on("north", func(s *Server) { s.OnStarted(func(roam.OfficeID, time.Time) { started++ }) })
		say := func(partner roam.OfficeID, body string) int {
			south, north := w.offices["south"], w.offices["north"]
			m := &sip.Message{}
			said++
			text := strings.ReplaceAll("NOTIFY sip:north SIP/2.0\nVia: SIP/2.0/TLS x:1;branch=z9hG4bK"+strconv.Itoa(said)+"\nMax-Forwards: 70\nFrom: <sip:s>;tag=1\nTo: <sip:n>\nCall-ID: c"+
				strconv.Itoa(said)+"\nCSeq: 1 NOTIFY\nEvent: roam-start\nContent-Type: "+startType+"\nContent-Length: ", "\n", "\r\n")
			if err := sip.Parse([]byte(text+strconv.Itoa(len(body))+"\r\n\r\n"+body), m); err != nil {
				t.Fatal(err)
			}
			m.Flow = flowBetween(north, south)
			m.Flow.Partner = partner
			before := started
			north.layer.Receive([]*sip.Message{m}, func() {})
			time.Sleep(time.Second)
			synctest.Wait()
			return started - before
		}
		for partner, body := range map[roam.OfficeID]string{"": `{"v":1}`, "nowhere": `{"v":1}`, "west": `{"v":7}`} {
			if got := say(partner, body); got != 0 {
				t.Errorf("from %q with %s: counted as a start", partner, body)
			}
		}
		if got := say("south", `{"v":1}`); got != 1 {
			t.Errorf("a start of south's: counted %d times, want once", got)
		}
		before := started
		for range 20 { // it says so for 20 s
			say("south", `{"v":1}`)
		}
		if got := started - before; got < 3 || got > 5 {
			t.Errorf("20 starts in 20 s: heeded %d times, want every %v", got, heedEvery)
		}
	})
}
