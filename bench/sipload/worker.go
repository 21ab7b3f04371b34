package main

import (
	"bytes"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// cookie begins our branches; socket, slot, generation and step follow, so that a response finds its operation.
const cookie = "z9hG4bKsl"

// tick is how often a worker looks for what must be repeated.
const tick = 50 * time.Millisecond

// operation is one slot of the window.
type operation struct {
	n      uint32 // generation
	step   int    // of the exchange, from 0
	user   int
	began  time.Time
	sent   time.Time
	wait   time.Duration // until the next repetition
	tries  int
	last   []byte
	ack    []byte
	remote []byte // the peer's Contact
	to     []byte // To with its tag
	routes [][]byte
}

// account is what one user's phone remembers.
type account struct {
	name  string
	cseq  int
	nonce string
	qop   bool
	nc    int
	ha1   string
}

// worker is one client socket with its window; one goroutine.
type worker struct {
	o        *options
	id       int
	conn     *net.UDPConn
	here     string
	slots    []operation
	accounts []account // of the users id, id+sockets, ...
	memory   [][]byte  // of each slot's REGISTER
	next     int
	begun    int           // operations so far
	open     int           // of those that end by themselves, not yet ended
	round    chan struct{} // closed when every user had a turn, or every call stands
	over     bool
	idle     []int     // slots that wait for their time; with -pace
	due      time.Time // of the next one
	count    *tally
	stop     *atomic.Bool
	run      string
}

func newWorker(o *options, id int, to *net.UDPAddr, count *tally, stop *atomic.Bool) (*worker, error) {
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(o.source), Port: o.first + id}, to)
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(4 << 20)
	return &worker{o: o, id: id, conn: conn, here: conn.LocalAddr().String(), slots: make([]operation, o.window),
		accounts: make([]account, o.users/o.sockets+1), memory: make([][]byte, o.window), round: make(chan struct{}), count: count, stop: stop,
		run: strconv.FormatInt(time.Now().UnixNano()%1e9, 36)}, nil
}

// loop keeps the window full until stop, then lets what is under way end.
func (w *worker) loop() {
	w.due = time.Now()
	for i := range w.slots {
		w.begin(i)
	}
	wait := tick
	if w.o.pace > 0 {
		wait = time.Millisecond
	}
	buf := make([]byte, 16384)
	w.conn.SetReadDeadline(time.Now().Add(wait))
	for check := time.Now(); ; {
		n, err := w.conn.Read(buf)
		if err == nil && bytes.HasPrefix(buf[:n], []byte("SIP/2.0 ")) {
			w.response(buf[:n])
		}
		for len(w.idle) > 0 && !time.Now().Before(w.due) && !w.stop.Load() {
			i := w.idle[0]
			w.idle = w.idle[1:]
			w.due = w.due.Add(time.Duration(float64(w.o.sockets) / w.o.pace * float64(time.Second)))
			w.start(i)
		}
		now := time.Now()
		if err != nil || wait < tick {
			w.conn.SetReadDeadline(now.Add(wait))
		}
		if now.Sub(check) > tick {
			check = now
			w.conn.SetReadDeadline(now.Add(wait))
			if !w.repeat(now) && w.stop.Load() {
				return
			}
		}
	}
}

// share is how many operations make a round of this socket.
func (w *worker) share() int {
	all := w.o.users
	if w.o.talks() {
		all = w.o.calls
	}
	return (all + w.o.sockets - 1 - w.id) / w.o.sockets
}

// begin starts a new operation in slot i, unless there is no more to do; with -pace when its time comes.
func (w *worker) begin(i int) {
	done := w.o.once() && w.begun >= w.share()
	if w.stop.Load() || done {
		w.slots[i].last = nil
		return
	}
	if w.o.pace > 0 {
		w.slots[i].last = nil
		w.idle = append(w.idle, i)
		return
	}
	w.start(i)
}

func (w *worker) start(i int) {
	w.begun++
	w.open++
	op := &w.slots[i]
	*op = operation{n: op.n + 1, began: time.Now()}
	if w.o.talks() {
		w.send(op, w.invite(i, op))
		return
	}
	op.user = w.next
	if w.next++; w.next*w.o.sockets+w.id >= w.o.users {
		w.next = 0
	}
	if w.o.mode == "reg" {
		w.accounts[op.user].nonce = ""
	}
	w.send(op, w.register(i, op))
}

func (w *worker) send(op *operation, m []byte) {
	op.last, op.sent, op.wait, op.tries = m, time.Now(), 500*time.Millisecond, 0
	w.conn.Write(m)
}

func (w *worker) end(i int, ok bool) {
	w.count.finish(w.slots[i].began, ok)
	w.open--
	w.begin(i)
	if !w.over && w.begun-w.open >= w.share() {
		w.over = true
		close(w.round)
	}
}

// repeat sends again what is unanswered (Timer A, E); busy says that something is under way.
func (w *worker) repeat(now time.Time) (busy bool) {
	for i := range w.slots {
		op := &w.slots[i]
		if op.last == nil {
			continue
		}
		busy = true
		if now.Sub(op.sent) < op.wait {
			continue
		}
		if op.tries++; op.tries > 6 {
			w.end(i, false)
			continue
		}
		if w.count.on.Load() {
			w.count.repeat.Add(1)
		}
		op.sent, op.wait = now, 2*op.wait
		w.conn.Write(op.last)
	}
	return busy
}

func (w *worker) branch(i int, op *operation) string {
	var room [64]byte
	b := append(append(room[:0], cookie...), w.run...)
	for _, n := range [...]int{i, int(op.n), op.step} {
		b = strconv.AppendInt(append(b, '.'), int64(n), 10)
	}
	return string(b)
}

// response finds the operation that m answers.
func (w *worker) response(m []byte) {
	at := bytes.Index(m, []byte(cookie+w.run+"."))
	if at < 0 {
		return
	}
	rest := m[at+len(cookie)+len(w.run)+1:]
	i, rest := number(rest)
	n, rest := number(rest)
	step, _ := number(rest)
	if i >= len(w.slots) {
		return
	}
	op := &w.slots[i]
	if int(op.n) != n || op.last == nil {
		return
	}
	code, _ := strconv.Atoi(string(m[8:11]))
	if w.o.talks() {
		w.callResponse(i, op, step, code, m)
	} else if step == op.step && code >= 200 {
		w.registerResponse(i, op, code, m)
	}
}

// number takes a number and the octet behind it off b.
func number(b []byte) (n int, rest []byte) {
	for i, c := range b {
		if c < '0' || c > '9' {
			return n, b[i+1:]
		}
		n = 10*n + int(c-'0')
	}
	return n, nil
}
