// Package config reads one YAML file into a struct over its defaults, and says every
// mistake with its file, line, column and the line itself. It knows no role.
package config

// Validator is a part of the configuration that can be wrong in itself.
type Validator interface{ Validate() error }

// At is a mistake at a place in the file: "$.numbers.country". Validate returns it, alone or joined.
type At struct {
	Path string
	Err  error
}

// Error is "path: what is wrong".
func (a *At) Error() string { return a.Path + ": " + a.Err.Error() }

// Unwrap gives the mistake.
func (a *At) Unwrap() error { return a.Err }

// Read fills into from path. All mistakes come at once, joined.
func Read(path string, into Validator) error { panic("config: not built") }
