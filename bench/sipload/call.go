package main

import (
	"bytes"
	"fmt"
	"net"
	"time"
)

// sdp is every offer and answer; no media follows.
const sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"

// Steps of a call: the INVITE, its ACK, the BYE.
const (
	stepInvite = iota
	stepAck
	stepBye
)

// name is who talks: 0 the callee, then the callers. They are not among the users that only register,
// whose phones would ring too.
func (o *options) name(n int) string { return fmt.Sprintf(o.format, o.users+n) }

func (w *worker) callee() string {
	if w.o.register {
		return fmt.Sprintf("sip:%s@%s", w.o.name(0), w.o.realm)
	}
	return "sip:callee@" + w.o.target
}

func (w *worker) caller() string {
	if w.o.register {
		return fmt.Sprintf("sip:%s@%s", w.o.name(w.id+1), w.o.realm)
	}
	return "sip:caller@" + w.here
}

func (w *worker) callID(i int, op *operation) string {
	return fmt.Sprintf("c%s.%d.%d.%d", w.run, w.id, i, op.n)
}

func (w *worker) invite(i int, op *operation) []byte {
	return fmt.Appendf(nil, "INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=u%d.%d\r\nTo: <%s>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
		w.callee(), w.here, w.branch(i, op), w.caller(), i, op.n, w.callee(), w.callID(i, op), w.here, len(sdp), sdp)
}

func (w *worker) inDialog(i int, op *operation, method string, cseq int) []byte {
	b := fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\n", method, op.remote, w.here, w.branch(i, op))
	for _, r := range op.routes {
		b = fmt.Appendf(b, "Route: %s\r\n", r)
	}
	return fmt.Appendf(b, "From: <%s>;tag=u%d.%d\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		w.caller(), i, op.n, op.to, w.callID(i, op), cseq, method)
}

func (w *worker) callResponse(i int, op *operation, step, code int, m []byte) {
	switch {
	case step == stepInvite && code < 200:
		op.wait = 1 << 40 // Timer A ends
	case step == stepInvite && op.step != stepInvite: // the 200 again
		w.conn.Write(op.ack)
	case step == stepInvite && code >= 300:
		op.remote, op.to = []byte(w.callee()), bytes.Clone(header(m, "To"))
		w.conn.Write(w.inDialog(i, op, "ACK", 1))
		w.end(i, false)
	case step == stepInvite:
		op.to = bytes.Clone(header(m, "To"))
		contact := header(m, "Contact")
		if from := bytes.IndexByte(contact, '<'); from >= 0 {
			contact = contact[from+1 : bytes.IndexByte(contact, '>')]
		}
		op.remote = bytes.Clone(contact)
		if rr := header(m, "Record-Route"); rr != nil {
			op.routes = append(op.routes, bytes.Clone(rr))
		}
		op.step = stepAck
		op.ack = w.inDialog(i, op, "ACK", 1)
		w.conn.Write(op.ack)
		if w.o.mode == "hold" {
			w.end(i, true)
			return
		}
		op.step = stepBye
		w.send(op, w.inDialog(i, op, "BYE", 2))
	case step == stepBye && code >= 200:
		w.end(i, code < 300)
	}
}

// listenCallee answers calls at the callee's port until it is closed.
func listenCallee(o *options, to *net.UDPAddr) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(o.source), Port: o.callee})
	if err != nil {
		return nil, err
	}
	c.SetReadBuffer(4 << 20)
	if o.register {
		if err := registerOnce(o, c, to, o.name(0)); err != nil {
			return nil, err
		}
	}

	c.SetReadDeadline(time.Time{})
	go func() { // ends when c is closed
		buf := make([]byte, 16384)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m := buf[:n]
			switch {
			case bytes.HasPrefix(m, []byte("INVITE ")):
				c.WriteToUDPAddrPort(reply(m, c.LocalAddr(), "180 Ringing", ""), from)
				c.WriteToUDPAddrPort(reply(m, c.LocalAddr(), "200 OK", sdp), from)
			case bytes.HasPrefix(m, []byte("ACK ")), bytes.HasPrefix(m, []byte("SIP/2.0 ")):
			default:
				c.WriteToUDPAddrPort(reply(m, c.LocalAddr(), "200 OK", ""), from)
			}
		}
	}()
	return c, nil
}

// reply answers m.
func reply(m []byte, here net.Addr, status, body string) []byte {
	b := append([]byte("SIP/2.0 "), status...)
	b = append(b, '\r', '\n')
	for _, line := range bytes.Split(m, []byte("\r\n"))[1:] {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.ToLower(name)) {
		case "via", "from", "call-id", "cseq", "record-route":
			b = append(append(b, line...), '\r', '\n')
		case "to":
			b = append(b, line...)
			if !bytes.Contains(line, []byte("tag=")) {
				b = fmt.Appendf(b, ";tag=%s", digest(string(header(m, "Call-ID")))[:12])
			}
			b = append(b, '\r', '\n')
		}
		if len(line) == 0 {
			break
		}
	}
	b = fmt.Appendf(b, "Contact: <sip:callee@%s>\r\n", here)
	if body != "" {
		b = append(b, "Content-Type: application/sdp\r\n"...)
	}
	return fmt.Appendf(b, "Content-Length: %d\r\n\r\n%s", len(body), body)
}
