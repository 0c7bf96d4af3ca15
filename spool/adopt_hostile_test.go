package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// TestAdoptHostileMark: the mark on a disk from another host must name a spool, not a path: the directory that it names is removed
// only below the adopter's work directory.
func TestAdoptHostileMark(t *testing.T) {
	dir, root := orphan(t, func(string) {}), t.TempDir()
	work, precious := filepath.Join(root, "a", "work"), filepath.Join(root, "precious-data")
	for _, d := range []string{work, precious} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	keep := filepath.Join(precious, "file")
	if err := os.WriteFile(keep, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := newIdentity("vpn", "i", time.Now())
	for what, m := range map[string]adoption{
		"class":       {Class: "../../precious", Spool: "data"},
		"spool":       {Class: "vpn", Spool: "x/../../../precious-data"},
		"nothing":     {},
		"destination": {Class: "vpn", Spool: id.Spool, Chains: map[string]chainFile{"../../precious-data/file": {}}},
	} {
		m.Version, m.Epoch, m.Instance = 1, 1, "i"
		b, err := statefile.Seal(m)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, adoptedName), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Adopt(dir, &AdoptOptions{Work: work, MaxBytes: 64 << 20}); err == nil || errors.Is(err, ErrAdopted) || !strings.Contains(err.Error(), "move it to another directory") {
			t.Errorf("%s: %v", what, err)
		}
		if b, err := os.ReadFile(keep); err != nil || string(b) != "x" {
			t.Fatalf("%s: %q %v", what, b, err)
		}
	}
}
