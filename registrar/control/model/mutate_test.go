//go:build mutants

package model

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutants takes the rules out of control one after the other: the model must turn red each time. It needs the go
// tool, and five minutes: go test -tags mutants ./registrar/control/model -run TestMutants -v
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.rule, func(t *testing.T) {
			t.Parallel()
			source, err := filepath.Abs(m.source())
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), m.file)
			if err := os.WriteFile(file, []byte(m.mutated(t)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay := filepath.Join(t.TempDir(), "overlay.json")
			doc, _ := json.Marshal(map[string]any{"Replace": map[string]string{source: file}})
			if err := os.WriteFile(overlay, doc, 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"test", "-vet=off", "-overlay", overlay}
			switch m.test {
			case "":
				args = append(args, "-run", "^TestModel$", "-rapid.shrinktime=1ms", ".")
			case small:
				args = append(args, "..")
			case wire:
				args = append(args, "../..")
			default:
				args = append(args, "-run", "^"+m.test+"$", ".")
			}
			cmd := exec.Command("go", args...)
			if m.file == "location.lua" {
				cmd.Env = append(os.Environ(), "MODEL_SCRIPT="+file)
			}
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("got green, want red")
			}
			said := strings.TrimSpace(string(out))
			if !strings.Contains(said, "[rapid]") && !strings.Contains(said, "--- FAIL") {
				t.Fatalf("got no red test but\n%s", said)
			}
			for _, l := range strings.Split(said, "\n") {
				if strings.Contains(l, "failed after") || strings.HasPrefix(l, "--- FAIL") && m.test != "" {
					t.Log(strings.TrimSpace(l))
					break
				}
			}
		})
	}
}
