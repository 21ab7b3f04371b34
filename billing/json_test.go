package billing

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/siproam/siproam/roam"
)

// The written-out encoder says what encoding/json says, whatever stands in the record.
func TestAppendJSON(t *testing.T) {
	same := func(c roam.CDR) bool {
		want, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got := appendJSON(nil, &c)
		if string(got) != string(want) {
			t.Errorf("got %s, want %s", got, want)
		}
		return string(got) == string(want)
	}
	same(roam.CDR{})
	same(call("1"))
	for _, odd := range []string{"<sip:a&b>", "a\"b\\c", "tab\tnul\x00del\x7f", "Zoë", "\u2028", "\xff\xfe", "/"} {
		c := call(odd)
		c.From, c.To, c.Dialled, c.Reason, c.Codec = odd, odd, odd, odd, odd
		same(c)
	}
	for _, x := range []float64{0, -0.5, 1e-7, 1e21, 1 << 53, 1<<53 + 2, -3, 12.75, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		c := call("1")
		c.Media[0].Jitter = x
		same(c)
	}
	for _, at := range []time.Time{time.Now(), time.Now().UTC(), began.Add(time.Nanosecond), began.In(time.FixedZone("", -5*3600-1800))} {
		c := call("1")
		c.Start = at
		same(c)
	}
	// Every field counts: the generator fills whatever roam.CDR has.
	if err := quick.Check(func(n int64, text string, flag bool, c0, c1 roam.Traffic) bool {
		var c roam.CDR
		fill(reflect.ValueOf(&c).Elem(), n, text, flag)
		c.Media = [2]roam.Traffic{c0, c1}
		return same(c)
	}, nil); err != nil {
		t.Error(err)
	}
}

// fill sets every field of v.
func fill(v reflect.Value, n int64, text string, flag bool) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(n%1e10, n%1e9).UTC()))
		default:
			switch f.Kind() {
			case reflect.String:
				f.SetString(text)
			case reflect.Int:
				f.SetInt(n)
			case reflect.Bool:
				f.SetBool(flag)
			}
		}
	}
}

func TestNoNumberIsZero(t *testing.T) {
	c := call("1")
	c.Media[0].Jitter, c.Media[1].Jitter = math.NaN(), math.Inf(1)
	var back roam.CDR
	if err := json.Unmarshal(appendJSON(nil, &c), &back); err != nil || back.Media[0].Jitter != 0 || back.Media[1].Jitter != 0 {
		t.Errorf("got %+v, %v", back.Media, err)
	}
}

func BenchmarkJSON(b *testing.B) {
	c := call("5f0c9a1b2c3d4e5f-1-2s")
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = appendJSON(buf[:0], &c)
		}
	})
	b.Run("encoding", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(c); err != nil {
				b.Fatal(err)
			}
		}
	})
}
