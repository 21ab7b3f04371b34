package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// named finds packages and tests as docs/conformance.md writes them: a package in backticks, then its tests.
var named = regexp.MustCompile("`([a-z0-9/]+)`|\\b((?:Test|Fuzz)[A-Z0-9][A-Za-z0-9_]*)")

// TestConformanceNames: every test that docs/conformance.md names is in the package named last before it.
func TestConformanceNames(t *testing.T) {
	b, err := os.ReadFile("docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{} // by package: its test files
	where, found := "", 0
	for _, m := range named.FindAllSubmatch(b, -1) {
		if name := string(m[1]); name != "" {
			if _, known := tests[name]; !known {
				tests[name] = testsOf(t, name)
			}
			if tests[name] != "" {
				where = name
			}
			continue
		}
		if where == "" {
			continue // an example before the first table
		}
		found++
		if !regexp.MustCompile(`(?m)^func ` + string(m[2]) + `\(`).MatchString(tests[where]) {
			t.Errorf("%s is not a test of package %s", m[2], where)
		}
	}
	if found < 200 {
		t.Errorf("%d tests are named, want more: is it still written so?", found)
	}
}

// testsOf is the test files of a package, all in one; "" where there is none of that name.
func testsOf(t *testing.T, pkg string) (text string) {
	t.Helper()
	files, err := filepath.Glob(pkg + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	return text
}
