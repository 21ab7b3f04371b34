package sip

// URI is a sip:, sips: or tel: URI (RFC 3261 19.1, RFC 3966) taken apart. Escapes
// that need not be are undone in User, so that equal users compare equal.
type URI struct {
	Scheme   string // lower case: "sip", "sips", "tel"
	User     string // unescaped; of a tel URI the number
	Password string
	Host     string // lower case; IPv6 with brackets
	Port     uint16 // 0: not given
	Params   Params // as written, without the first ";"
	Headers  string // as written, after "?"
}

// Params is a parameter list as written: `lr;transport=tcp`. Names compare in any letter case.
type Params string

// Get is the value of name, unquoted; found even when it has no value.
func (p Params) Get(name string) (value string, found bool) { panic("sip: not built") }

// ParseURI reads a URI. Errors are *Refused: 400, or 416 for a scheme we do not know.
func ParseURI(b []byte) (URI, error) { panic("sip: not built") }

// String writes u with the escapes RFC 3261 25 asks for.
func (u URI) String() string { panic("sip: not built") }

// Transport is the transport parameter in lower case, "" when absent; sips is "tls".
func (u URI) Transport() string { panic("sip: not built") }

// Equal compares by RFC 3261 19.1.4.
func (u URI) Equal(v URI) bool { panic("sip: not built") }

// AOR is a public address in canonical form: "user@host", or "+15550001001"
// for a global number of a tel URI; no scheme, no parameters, no port (10.3).
type AOR string

// AOR is u in canonical form. An empty user is an error, but a bare host is not: "north.example".
func (u URI) AOR() (AOR, error) { panic("sip: not built") }

// Address is a name-addr or addr-spec with its parameters (20.10, 20.20, 20.39).
type Address struct {
	Display string // unquoted
	URI     URI
	Raw     string // the URI as written, for what must be echoed byte for byte
	Params  Params // the header's own, outside <>
	Star    bool   // Contact: *
}

// ParseAddress reads one name-addr or addr-spec.
func ParseAddress(b []byte) (Address, error) { panic("sip: not built") }

// String writes `"Display" <uri>;params`.
func (a Address) String() string { panic("sip: not built") }

// ViaValue is one Via (20.42).
type ViaValue struct {
	Transport string // "UDP", upper case
	Host      string
	Port      uint16 // 0: not given
	Params    Params
}

// ParseVia reads one Via value.
func ParseVia(b []byte) (ViaValue, error) { panic("sip: not built") }
