package office

import "testing"

// TestIsEmergency: the numbers of the office and the sos URN, however they are written.
func TestIsEmergency(t *testing.T) {
	o := &Office{cfg: DefaultConfig()}
	for uri, want := range map[string]bool{
		"sip:112@south.example": true, "sip:911@192.0.2.1;user=phone": true, "tel:112": true, "urn:service:sos": true,
		"URN:service:sos.police": true, "sip:1121@south.example": false, "sip:alice@112": false, "urn:service:counseling": false, "": false, "urn": false,
	} {
		if got := o.isEmergency([]byte(uri)); got != want {
			t.Errorf("%q: got %v, want %v", uri, got, want)
		}
	}
}
