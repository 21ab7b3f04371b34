package sip

// Status is the one table from errors to codes: *Refused, roam.Refusal, anything
// else is 500 and its text never reaches the wire.
func Status(err error) (code int, reason string, fields []Field) { panic("sip: not built") }

// Text is the standard reason phrase of a code.
func Text(code int) string { panic("sip: not built") }
