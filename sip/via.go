package sip

import (
	"strconv"
	"strings"
)

// ViaValue is one Via (20.42).
type ViaValue struct {
	Transport string // "UDP", upper case
	Host      string // lower case; IPv6 with brackets
	Port      uint16 // 0: not given
	Params    Params
}

// ParseVia reads one Via value.
func ParseVia(b []byte) (ViaValue, error) {
	var v ViaValue
	if _, _, problem := v.parse(trim(string(b))); problem != "" {
		return ViaValue{}, bad(problem)
	}
	return v, nil
}

// parse reads s, which is trimmed, into v; by is host and port as written. The problem is "" when
// there is none.
func (v *ViaValue) parse(s string) (branch, by, problem string) {
	s, ok := cutProtocol(s)
	n := count(s, token)
	if !ok || n == 0 || n == len(s) || !isBlank(s[n]) {
		return "", "", "Via"
	}
	v.Transport, s = upper(s[:n]), trimLeft(s[n:])
	by = s
	if v.Host, s, ok = cutHost(s); !ok {
		return "", "", "Via host"
	}
	if s = trimLeft(s); s != "" && s[0] == ':' {
		if v.Port, s, ok = cutPort(trimLeft(s[1:])); !ok {
			return "", "", "Via port"
		}
		s = trimLeft(s)
	}
	by = trimRight(by[:len(by)-len(s)])
	if branch, ok = params(s, "branch"); !ok {
		return "", "", "Via parameters"
	}
	if s != "" {
		v.Params = Params(trim(s[1:]))
	}
	return branch, by, ""
}

// cutProtocol takes "SIP / 2.0 /" off s. Other versions are somebody else's hops.
func cutProtocol(s string) (rest string, ok bool) {
	const usual = "SIP/2.0/"
	if strings.HasPrefix(s, usual) {
		return s[len(usual):], true
	}
	name, s, ok1 := strings.Cut(s, "/")
	version, s, ok2 := strings.Cut(s, "/")
	version = trim(version)
	return trimLeft(s), ok1 && ok2 && equalFold(trimRight(name), "SIP") && version != "" && every(version, token)
}

func upper(s string) string {
	switch s {
	case "UDP", "TCP", "TLS", "WS", "WSS":
		return s
	}
	return strings.ToUpper(s)
}

// String writes v.
func (v ViaValue) String() string {
	b := append([]byte("SIP/2.0/"), v.Transport...)
	b = append(append(b, ' '), v.Host...)
	if v.Port != 0 {
		b = strconv.AppendUint(append(b, ':'), uint64(v.Port), 10)
	}
	if v.Params != "" {
		b = append(append(b, ';'), v.Params...)
	}
	return string(b)
}
