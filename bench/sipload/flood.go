package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// kinds are the floods: each writes one message from here; n is different every time.
var kinds = map[string]func(o *options, b []byte, here string, n uint64) []byte{
	// Everybody's REGISTER without credentials, each with a Call-ID of its own.
	"register": func(o *options, b []byte, here string, n uint64) []byte {
		return plainRequest(b, "REGISTER", "sip:"+o.realm, fmt.Sprintf("sip:"+o.format+"@%s", n%uint64(o.users), o.realm), here, n, "")
	},
	// Guesses: the digest is checked each time.
	"password": func(o *options, b []byte, here string, n uint64) []byte {
		name := fmt.Sprintf(o.format, n%uint64(o.users))
		return plainRequest(b, "REGISTER", "sip:"+o.realm, "sip:"+name+"@"+o.realm, here, n, fmt.Sprintf("Authorization: Digest username=\"%s\",realm=\"%s\",nonce=\"%s\",uri=\"sip:%s\","+
			"algorithm=MD5,qop=auth,nc=%08x,cnonce=\"c0ffee\",response=\"%032x\"\r\n", name, o.realm, o.nonce, o.realm, n&0xffffff, n))
	},
	// Users of domains that nobody knows: the routing store would be asked.
	"visitor": func(o *options, b []byte, here string, n uint64) []byte {
		return plainRequest(b, "REGISTER", "sip:far.test", fmt.Sprintf("sip:%x@far.test", n), here, n, "")
	},
	"invite": func(o *options, b []byte, here string, n uint64) []byte {
		return plainRequest(b, "INVITE", o.aor(n), o.aor(n+1), here, n, "")
	},
	"options": func(o *options, b []byte, here string, n uint64) []byte {
		return plainRequest(b, "OPTIONS", "sip:"+o.realm, o.aor(n), here, n, "")
	},
	"bye": func(o *options, b []byte, here string, n uint64) []byte {
		return []byte(strings.Replace(string(plainRequest(b, "BYE", o.aor(n), o.aor(n), here, n, "")), "\r\nCall-ID", ";tag=x\r\nCall-ID", 1))
	},
	"ack": func(o *options, b []byte, here string, n uint64) []byte {
		return plainRequest(b, "ACK", o.aor(n), o.aor(n), here, n, "")
	},
	"response": func(o *options, b []byte, here string, n uint64) []byte {
		_, rest, _ := strings.Cut(string(plainRequest(b, "INVITE", o.aor(n), o.aor(n), here, n, "")), "\r\n")
		return append(append(b[:0], "SIP/2.0 200 OK\r\n"...), rest...)
	},
	"garbage": func(o *options, b []byte, here string, n uint64) []byte {
		for b = b[:0]; len(b) < 400; {
			b = append(b, byte(rand.Uint32()))
		}
		return b
	},
	// The first part of a message, cut anywhere.
	"half": func(o *options, b []byte, here string, n uint64) []byte {
		b = plainRequest(b, "INVITE", o.aor(n), o.aor(n), here, n, "Content-Type: application/sdp\r\n")
		return b[:rand.IntN(len(b))]
	},
}

func (o *options) aor(n uint64) string {
	return fmt.Sprintf("sip:"+o.format+"@%s", n%uint64(o.users), o.realm)
}

func plainRequest(b []byte, method, uri, aor, here string, n uint64, more string) []byte {
	return fmt.Appendf(b[:0], "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s%x;rport\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=f%x\r\nTo: <%s>\r\nCall-ID: f%x@flood\r\n"+
		"CSeq: 1 %s\r\nContact: <sip:f@%s>\r\n%sUser-Agent: flood\r\nContent-Length: 0\r\n\r\n", method, uri, here, cookie, n, aor, n, aor, n, method, here, more)
}

// flood sends messages of one kind, or of all in turn, whatever comes back, and prints how many went out and came back.
func flood(o *options, to *net.UDPAddr) error {
	var writers []func(o *options, b []byte, here string, n uint64) []byte
	for name, kind := range kinds {
		if o.kind == "all" || o.kind == name {
			writers = append(writers, kind)
		}
	}
	if len(writers) == 0 {
		return fmt.Errorf("no flood is called %q", o.kind)
	}
	var sent, octets, answers, back uint64
	var wg sync.WaitGroup
	var mu sync.Mutex // guards answers and back
	conns, heres := []*net.UDPConn{}, []string{}
	for i := range o.sockets {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(o.source), Port: o.first + i}, to)
		if err != nil {
			return err
		}
		conns, heres = append(conns, c), append(heres, c.LocalAddr().String())
		wg.Go(func() {
			buf, n, bytes := [4096]byte{}, uint64(0), uint64(0)
			for {
				k, err := c.Read(buf[:])
				if err != nil {
					break
				}
				n, bytes = n+1, bytes+uint64(k)
			}
			mu.Lock()
			defer mu.Unlock()
			answers, back = answers+n, back+bytes
		})
	}
	o.nonce = someNonce(o, to)
	began, b, first := time.Now(), []byte(nil), rand.Uint64()>>16
	for took := time.Duration(0); took < o.measured; took = time.Since(began) {
		for due := uint64(took.Seconds() * float64(o.rate)); sent < due; sent++ {
			i := int(sent) % len(conns)
			b = writers[int(sent/uint64(len(conns)))%len(writers)](o, b, heres[i], first+sent)
			conns[i].Write(b) // refused: the server is away, which its good users will tell
			octets += uint64(len(b))
		}
		time.Sleep(500 * time.Microsecond)
	}
	took := time.Since(began)
	time.Sleep(time.Second)
	for _, c := range conns {
		c.Close()
	}
	wg.Wait()
	fmt.Printf("%-22s flood  kind=%s sent/s=%.0f sent=%d answers=%d octets_sent=%d octets_back=%d\n", o.label, o.kind, float64(sent)/took.Seconds(), sent, answers, octets, back)
	return nil
}

// someNonce is one that the server would take; "" when it gives none.
func someNonce(o *options, to *net.UDPAddr) string {
	a := account{name: fmt.Sprintf(o.format, 0)}
	own, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return ""
	}
	defer own.Close()
	own.Write(registerMessage(nil, o, &a, own.LocalAddr().String(), cookie+"nonce", "nonce"))
	own.SetReadDeadline(time.Now().Add(time.Second))
	buf := [4096]byte{}
	n, _ := own.Read(buf[:])
	a.challenge(buf[:n])
	return a.nonce
}
