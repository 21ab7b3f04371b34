package roam

import (
	"reflect"
	"testing"
)

func TestCompare(t *testing.T) {
	phone := &Abilities{Transport: UDP, Require: []string{"outbound"}, Supported: []string{"path", "gruu"}}
	for _, c := range []struct {
		name     string
		d        *Demands
		a        *Abilities
		declared []string
		want     Lack
	}{
		{"nothing asked", nil, phone, nil, Lack{}},
		{"anything goes", &Demands{}, phone, nil, Lack{}},
		{"a device that told nothing", &Demands{Transports: []string{"tls"}, Require: []string{"path"}}, nil, nil, Lack{}},
		{"an office that does not say by what it came", &Demands{Transports: []string{"tls"}}, &Abilities{}, nil, Lack{}},
		{"its transport", &Demands{Transports: []string{"tcp", "udp"}}, phone, nil, Lack{}},
		{"another transport", &Demands{Transports: []string{"tls", "wss"}}, phone, nil, Lack{Transports: []string{"tls", "wss"}}},
		{"an extension it has", &Demands{Require: []string{"path"}}, phone, nil, Lack{}},
		{"an extension it needs, and so has", &Demands{Require: []string{"outbound"}}, phone, nil, Lack{}},
		{"extensions it has not", &Demands{Require: []string{"timer", "path", "100rel"}}, phone, nil, Lack{Missing: []string{"timer", "100rel"}}},
		{"one of them by its account", &Demands{Require: []string{"timer", "path", "100rel"}}, phone, []string{"100rel"}, Lack{Missing: []string{"timer"}}},
		{"an extension refused", &Demands{Refuse: []string{"outbound"}}, phone, nil, Lack{Unsupported: []string{"outbound"}}},
		{"an extension refused that it can do without", &Demands{Refuse: []string{"path"}}, phone, nil, Lack{}},
	} {
		got := c.d.Compare(c.a, c.declared)
		if !reflect.DeepEqual(got, c.want) || got.None() != reflect.DeepEqual(c.want, Lack{}) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestTransportWords(t *testing.T) {
	for tr := UDP; tr <= WSS; tr++ {
		if got, found := TransportOf(tr.Word()); got != tr || !found {
			t.Errorf("TransportOf(%q): got %v %v, want %v", tr.Word(), got, found, tr)
		}
	}
	for _, w := range []string{"", "UDP", "sctp"} {
		if got, found := TransportOf(w); found {
			t.Errorf("TransportOf(%q): got %v, want none", w, got)
		}
	}
}
