package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"time"
)

func digest(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }

func (w *worker) name(op *operation) string {
	return fmt.Sprintf(w.o.format, op.user*w.o.sockets+w.id)
}

// register is the REGISTER of op's user, with an answer when there is a nonce.
func (w *worker) register(i int, op *operation) []byte {
	a := &w.accounts[op.user]
	a.cseq++
	return registerMessage(w.o, a, w.name(op), w.here, w.branch(i, op), w.run)
}

func registerMessage(o *options, a *account, name, here, branch, run string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=f\r\nTo: <sip:%s@%s>\r\n"+
		"Call-ID: r%s.%s\r\nCSeq: %d REGISTER\r\n", o.realm, here, branch, name, o.realm, name, o.realm, run, name, a.cseq)
	if o.move {
		fmt.Fprintf(&b, "Contact: <sip:%s@%s;n=%d>;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-%012s>\"\r\n", name, here, a.cseq, name)
	} else {
		fmt.Fprintf(&b, "Contact: <sip:%s@%s>\r\n", name, here)
	}
	if a.nonce != "" {
		if a.ha1 == "" {
			a.ha1 = digest(name + ":" + o.realm + ":" + o.password)
		}
		a.nc++
		nc := fmt.Sprintf("%08x", a.nc)
		ha2 := digest("REGISTER:sip:" + o.realm)
		fmt.Fprintf(&b, `Authorization: Digest username="%s",realm="%s",nonce="%s",uri="sip:%s",algorithm=MD5,`, name, o.realm, a.nonce, o.realm)
		if a.qop {
			fmt.Fprintf(&b, "qop=auth,nc=%s,cnonce=\"c0ffee\",response=\"%s\"\r\n", nc, digest(a.ha1+":"+a.nonce+":"+nc+":c0ffee:auth:"+ha2))
		} else {
			fmt.Fprintf(&b, "response=\"%s\"\r\n", digest(a.ha1+":"+a.nonce+":"+ha2))
		}
	}
	b.WriteString("Expires: 3600\r\nUser-Agent: sipload\r\nContent-Length: 0\r\n\r\n")
	return b.Bytes()
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
	var a account
	here := conn.LocalAddr().String()
	buf := make([]byte, 4096)
	for try := range 4 {
		a.cseq++
		m := registerMessage(o, &a, name, here, fmt.Sprintf("%sonce%d", cookie, try), "once"+here)
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
