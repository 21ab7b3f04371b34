package provision

import "testing"

func TestBuiltIn(t *testing.T) {
	set, err := readTemplates("", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set.files {
		b, err := f.write(sample("Alice \"A\" <x>", nil, true))
		t.Logf("%s/%s %v\n%s", f.vendor, f.name, err, b)
	}
}
