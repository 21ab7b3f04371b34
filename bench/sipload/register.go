package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

func digest(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }

// hash is digest of what is put together from parts, without making strings of it: the generator must
// be quicker than the server, or the server is measured with nothing waiting.
func hash(room []byte, parts ...string) (h [2 * md5.Size]byte) {
	room = room[:0]
	for i, p := range parts {
		if i > 0 {
			room = append(room, ':')
		}
		room = append(room, p...)
	}
	sum := md5.Sum(room)
	hex.Encode(h[:], sum[:])
	return h
}

// register is the REGISTER of op's user, with an answer when there is a nonce. It is written to the slot's memory.
func (w *worker) register(i int, op *operation) []byte {
	a := &w.accounts[op.user]
	a.cseq++
	if a.name == "" {
		a.name = fmt.Sprintf(w.o.format, op.user*w.o.sockets+w.id)
	}
	w.memory[i] = registerMessage(w.memory[i], w.o, a, w.here, w.branch(i, op), w.run)
	return w.memory[i]
}

func registerMessage(b []byte, o *options, a *account, here, branch, run string) []byte {
	cseq := strconv.Itoa(a.cseq)
	b = b[:0]
	add := func(parts ...string) {
		for _, p := range parts {
			b = append(b, p...)
		}
	}
	add("REGISTER sip:", o.realm, " SIP/2.0\r\nVia: SIP/2.0/UDP ", here, ";branch=", branch, ";rport\r\nMax-Forwards: 70\r\nFrom: <sip:", a.name, "@", o.realm,
		">;tag=f\r\nTo: <sip:", a.name, "@", o.realm, ">\r\nCall-ID: r", run, ".", a.name, "\r\nCSeq: ", cseq, " REGISTER\r\nContact: <sip:", a.name, "@", here)
	if o.move {
		add(";n=", cseq, `>;+sip.instance="<urn:uuid:00000000-0000-4000-8000-`, fmt.Sprintf("%012s", a.name), ">\"\r\n")
	} else {
		add(">\r\n")
	}
	if a.nonce != "" {
		var room [256]byte
		if a.ha1 == "" {
			a.ha1 = digest(a.name + ":" + o.realm + ":" + o.password)
		}
		a.nc++
		nc := fmt.Sprintf("%08x", a.nc)
		ha2 := hash(room[:], "REGISTER", "sip:"+o.realm)
		add(`Authorization: Digest username="`, a.name, `",realm="`, o.realm, `",nonce="`, a.nonce, `",uri="sip:`, o.realm, `",algorithm=MD5,`)
		var answer [2 * md5.Size]byte
		if a.qop {
			answer = hash(room[:], a.ha1, a.nonce, nc, "c0ffee", "auth", string(ha2[:]))
			add("qop=auth,nc=", nc, `,cnonce="c0ffee",`)
		} else {
			answer = hash(room[:], a.ha1, a.nonce, string(ha2[:]))
		}
		add(`response="`, string(answer[:]), "\"\r\n")
	}
	add("Expires: 3600\r\nUser-Agent: sipload\r\nContent-Length: 0\r\n\r\n")
	return b
}

// challenge takes the nonce of a 401.
func (a *account) challenge(m []byte) bool {
	h := header(m, "WWW-Authenticate")
	_, rest, found := strings.Cut(string(h), `nonce="`)
	if !found {
		return false
	}
	a.nonce, _, _ = strings.Cut(rest, `"`)
	a.qop, a.nc = bytes.Contains(h, []byte("qop=")), 0
	return true
}

func (w *worker) registerResponse(i int, op *operation, code int, m []byte) {
	switch {
	case code == 200:
		w.end(i, true)
	case code == 401 && op.step < 2 && w.accounts[op.user].challenge(m):
		op.step++
		w.send(op, w.register(i, op))
	default:
		w.end(i, false)
	}
}

// registerOnce registers name from conn and waits for the 200.
func registerOnce(o *options, conn *net.UDPConn, to *net.UDPAddr, name string) error {
	a := account{name: name}
	here := conn.LocalAddr().String()
	buf := make([]byte, 4096)
	for try := range 4 {
		a.cseq++
		m := registerMessage(nil, o, &a, here, fmt.Sprintf("%sonce%d", cookie, try), "once"+here+o.run)
		var err error
		if conn.RemoteAddr() != nil {
			_, err = conn.Write(m)
		} else {
			_, err = conn.WriteTo(m, to)
		}
		if err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		k, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
		if bytes.HasPrefix(buf, []byte("SIP/2.0 200")) {
			return nil
		}
		a.challenge(buf[:k])
	}
	return fmt.Errorf("register %s: %s", name, bytes.SplitN(buf, []byte("\r\n"), 2)[0])
}

// header is the value of the first field of that name.
func header(m []byte, name string) []byte {
	at := bytes.Index(m, []byte("\r\n"+name+": "))
	if at < 0 {
		return nil
	}
	v := m[at+len(name)+4:]
	end := bytes.Index(v, []byte("\r\n"))
	return v[:max(end, 0)]
}
