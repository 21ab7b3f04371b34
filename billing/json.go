package billing

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/siproam/siproam/roam"
)

// appendJSON appends cdr as encoding/json writes it, byte by byte the same. A call has two records and each is written
// twice; by reflection that was 6 % of what a call costs, so this is written out. TestAppendJSON holds one against the
// other, and fails when roam.CDR gets a field that is not here.
func appendJSON(b []byte, c *roam.CDR) []byte {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, int64(c.Version), 10)
	b = appendText(b, `,"id":`, c.ID)
	b = appendText(b, `,"call":`, c.Call)
	b = appendText(b, `,"icid":`, c.ICID)
	b = appendText(b, `,"session":`, c.Session)
	b = appendText(b, `,"office":`, string(c.Office))
	b = appendText(b, `,"home":`, string(c.Home))
	b = appendText(b, `,"user":`, string(c.User))
	b = appendText(b, `,"role":`, c.Role)
	b = appendText(b, `,"from":`, c.From)
	b = appendText(b, `,"to":`, c.To)
	b = appendText(b, `,"dialled":`, c.Dialled)
	b = appendText(b, `,"kind":`, string(c.Kind))
	b = append(b, `,"roaming":`...)
	b = strconv.AppendBool(b, c.Roaming)
	b = appendTime(b, `,"Start":"`, c.Start)
	b = appendTime(b, `,"Answered":"`, c.Answered)
	b = appendTime(b, `,"End":"`, c.End)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(c.Status), 10)
	b = append(b, `,"q850":`...)
	b = strconv.AppendInt(b, int64(c.Cause), 10)
	b = appendText(b, `,"by":`, c.By)
	if c.Reason != "" {
		b = appendText(b, `,"why":`, c.Reason)
	}
	if c.Codec != "" {
		b = appendText(b, `,"codec":`, c.Codec)
	}
	b = append(b, `,"Media":[`...)
	b = appendTraffic(b, &c.Media[0])
	b = append(b, ',')
	b = appendTraffic(b, &c.Media[1])
	return append(b, `]}`...)
}

func appendTraffic(b []byte, t *roam.Traffic) []byte {
	b = append(b, `{"packets":`...)
	b = strconv.AppendUint(b, t.Packets, 10)
	b = append(b, `,"octets":`...)
	b = strconv.AppendUint(b, t.Octets, 10)
	b = append(b, `,"lost":`...)
	b = strconv.AppendUint(b, t.Lost, 10)
	b = append(b, `,"jitter_ms":`...)
	return append(appendFloat(b, t.Jitter), '}')
}

// appendTime appends t after name, which opens the quotes.
func appendTime(b []byte, name string, t time.Time) []byte {
	return append(t.AppendFormat(append(b, name...), time.RFC3339Nano), '"')
}

// appendFloat appends x; what is no number is 0, since a record is not lost for it.
func appendFloat(b []byte, x float64) []byte {
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return strconv.AppendInt(b, int64(x), 10)
	}
	text, err := json.Marshal(x)
	if err != nil {
		text = []byte{'0'}
	}
	return append(b, text...)
}

// appendText appends name and s as a string. What needs escapes is left to encoding/json.
func appendText(b []byte, name, s string) []byte {
	b = append(b, name...)
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s)
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
