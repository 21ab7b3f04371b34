package nameserver

import (
	"slices"

	"github.com/miekg/dns"
)

const (
	plainUDP  = 512   // what one without EDNS0 takes over UDP (RFC 1035 2.3.4)
	safeUDP   = 1232  // and what we send at most: it is never cut into fragments, which can be forged
	wholeTCP  = 65535 //
	headerLen = 12
)

// read is the question in m, and the code to refuse it with; nil: it is no question, and nobody is answered.
func read(m []byte) (q *dns.Msg, code int) {
	if len(m) < headerLen || m[2]&0x80 != 0 { // an answer: never answered, or two servers would talk for ever
		return nil, 0
	}
	q = new(dns.Msg)
	if err := q.Unpack(m); err != nil {
		q = &dns.Msg{MsgHdr: dns.MsgHdr{Id: uint16(m[0])<<8 | uint16(m[1]), Opcode: int(m[2]>>3) & 15, RecursionDesired: m[2]&1 != 0}}
		return q, dns.RcodeFormatError
	}
	e := q.IsEdns0()
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return q, dns.RcodeNotImplemented
	case len(q.Question) != 1 || opts(q) > 1:
		return q, dns.RcodeFormatError
	case e != nil && e.Version() != 0:
		return q, dns.RcodeBadVers
	}
	switch k := q.Question[0]; {
	case k.Qclass != dns.ClassINET:
		return q, dns.RcodeRefused
	case k.Qtype == dns.TypeANY || k.Qtype == dns.TypeAXFR || k.Qtype == dns.TypeIXFR || k.Qtype == dns.TypeMAILA || k.Qtype == dns.TypeMAILB:
		return q, dns.RcodeRefused // long answers to short questions
	}
	return q, dns.RcodeSuccess
}

func opts(q *dns.Msg) (n int) {
	for _, r := range q.Extra {
		if r.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n
}

// room is how many bytes the answer to q may have.
func room(q *dns.Msg, stream bool) int {
	switch e := q.IsEdns0(); {
	case stream:
		return wholeTCP
	case e == nil:
		return plainUDP
	default:
		return min(max(int(e.UDPSize()), plainUDP), safeUDP)
	}
}

// failure is the answer to q that says code and nothing else.
func failure(q *dns.Msg, code int) []byte {
	r := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: code}}
	if len(q.Question) > 1 {
		q.Question = q.Question[:1]
	}
	return pack(q, r, plainUDP)
}

// pack writes r as the answer to q: with q's id and question as it was asked, and EDNS0 if q has it. What does not fit into
// room is cut off, and says so. It gives nil when r cannot be written.
func pack(q, r *dns.Msg, room int) []byte {
	r.Id, r.Response, r.Opcode, r.Question = q.Id, true, q.Opcode, q.Question
	r.RecursionDesired, r.CheckingDisabled = q.RecursionDesired, q.CheckingDisabled
	if e := q.IsEdns0(); e != nil {
		own := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		own.SetUDPSize(safeUDP)
		own.SetDo(e.Do())
		r.Extra = append(r.Extra, own)
	} else if r.Rcode > 15 {
		r.Rcode = dns.RcodeServerFailure // the rest of the code would stand in EDNS0
	}
	r.Compress = true
	if r.Len() > room { // what is only to spare a question does not make it cut short (RFC 2181 9)
		r.Extra = slices.DeleteFunc(r.Extra, func(x dns.RR) bool { return x.Header().Rrtype != dns.TypeOPT })
		if r.Len() > room {
			r.Truncate(room)
			r.Compress = true
		}
	}
	b, err := r.Pack()
	if err != nil || len(b) > room {
		return nil
	}
	return b
}
