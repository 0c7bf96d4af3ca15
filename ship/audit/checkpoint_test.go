package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(`{"version":1,"deep":true,"marks":[{"place":"idc","class":"vpn","spool":"` + strings.Repeat("0", 26) +
		`","epoch":1,"number":7,"hash":"` + strings.Repeat("ab", 32) + `"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := loadMarks(&Options{Checkpoint: path, Deep: true})
		if err != nil {
			return
		}
		// What was taken is written back as it is.
		if err := m.saveLocked(); err != nil {
			t.Fatal(err)
		}
		again, err := loadMarks(&Options{Checkpoint: path, Deep: true})
		if err != nil || len(again.all) != len(m.all) {
			t.Errorf("%+v, written back: %+v, %v", m.all, again, err)
		}
	})
}
