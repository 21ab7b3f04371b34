package transport

import (
	"bytes"
	"strconv"
	"sync/atomic"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

const (
	in = iota
	out
	directions
)

var directionNames = [directions]string{"in", "out"}

// counters are the metrics of FACE.md, found by index: no lookup per message.
type counters struct {
	requests  *metric.Counter
	responses *metric.Counter
	refusals  *metric.Counter

	request  [directions][sip.Other + 1][roam.WSS + 1]atomic.Pointer[metric.Value]
	response [directions][sip.Other + 1][700]atomic.Pointer[metric.Value]
}

func newCounters(m *metric.Set, connections func(emit func(v float64, labels ...string))) *counters {
	m.Gauge("sip_connections", "Open SIP connections.", []string{"transport"}, connections)
	return &counters{
		requests:  m.Counter("sip_requests_total", "SIP requests.", "method", "transport", "direction"),
		responses: m.Counter("sip_responses_total", "SIP responses.", "method", "code", "direction"),
		refusals:  m.Counter("sip_refused_messages_total", "What arrived and was not let in.", "reason"),
	}
}

func (c *counters) refused(reason string) { c.refusals.Add(1, reason) }

func (c *counters) received(m *sip.Message) {
	if m.IsRequest() {
		c.countRequest(in, m.Method(), m.Flow.Transport)
		return
	}
	c.countResponse(in, m.Method(), m.Status())
}

// sent counts b, which we wrote ourselves: a status line, or a method and a blank.
func (c *counters) sent(t roam.Transport, b []byte) {
	if len(b) > 12 && string(b[:8]) == "SIP/2.0 " {
		code, _ := strconv.Atoi(string(b[8:11]))
		c.countResponse(out, sequenceMethod(b), code)
		return
	}
	method, _, _ := bytes.Cut(b[:min(len(b), 16)], []byte(" "))
	c.countRequest(out, methodOf(method), t)
}

func (c *counters) countRequest(direction int, m sip.Method, t roam.Transport) {
	if c.requests == nil {
		return
	}
	p := &c.request[direction][m][t]
	v := p.Load()
	if v == nil {
		v = c.requests.With(methodLabel(m), t.String(), directionNames[direction])
		p.Store(v)
	}
	v.Add(1)
}

func (c *counters) countResponse(direction int, m sip.Method, code int) {
	if c.responses == nil || code < 100 || code > 699 {
		return
	}
	p := &c.response[direction][m][code]
	v := p.Load()
	if v == nil {
		v = c.responses.With(methodLabel(m), codeLabel(code), directionNames[direction])
		p.Store(v)
	}
	v.Add(1)
}

func methodLabel(m sip.Method) string {
	if m == sip.Other || m == sip.NoMethod {
		return "other"
	}
	return m.String()
}

// codeLabel is code, or its class for a code nobody knows: what strangers send must not
// make series. x99 is nobody's, so its text is that of the class; x00 is the class's own.
func codeLabel(code int) string {
	if code%100 != 0 && sip.Text(code) == sip.Text(code/100*100+99) {
		return strconv.Itoa(code/100) + "xx"
	}
	return strconv.Itoa(code)
}

var methods = func() map[string]sip.Method {
	all := map[string]sip.Method{}
	for m := sip.REGISTER; m < sip.Other; m++ {
		all[m.String()] = m
	}
	return all
}()

func methodOf(b []byte) sip.Method {
	if m, found := methods[string(b)]; found {
		return m
	}
	return sip.Other
}

var sequence = []byte("\r\nCSeq: ")

// sequenceMethod is the method in the CSeq of a response of ours.
func sequenceMethod(b []byte) sip.Method {
	_, rest, _ := bytes.Cut(b, sequence)
	value, _, _ := bytes.Cut(rest[:min(len(rest), 64)], []byte("\r"))
	return methodOf(value[bytes.LastIndexByte(value, ' ')+1:])
}
