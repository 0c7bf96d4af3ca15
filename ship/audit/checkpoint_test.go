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

// FuzzKeys: what a key is taken for is written as that key and as no other.
func FuzzKeys(f *testing.F) {
	spool := strings.Repeat("0", 26)
	f.Add("class=vpn/dt=2026-11-22/hour=08/" + spool + "-000001-00000000003d0901-00000000003e8fa0.ndjson.zst")
	f.Add("class=vpn/dt=0000-01-01/hour=23/" + spool + "-000001-0000000000000001-0000000000000001")
	f.Add("_manifest/vpn/" + spool + "/000001/000000000007.jsonl")
	f.Add("_manifest/vpn/" + spool + "/000001/heads/s3-backup-000000000007.json")
	f.Fuzz(func(t *testing.T, key string) {
		if k, ok := parseDataKey(key); ok && k.String() != key {
			t.Errorf("%q is taken for %q", key, k.String())
		}
		if k, ok := parseChainKey(key); ok && k.String() != key {
			t.Errorf("%q is taken for %q", key, k.String())
		}
	})
}

// TestKeyOrder: keys of objects compare as their names do, which is how they are listed.
func TestKeyOrder(t *testing.T) {
	spool := func(c string) string { return strings.Repeat(c, 26) }
	keys := []dataKey{
		{spoolID{"vpn", spool("z")}, -5, 1, 1, 2, ".log"},
		{spoolID{"vpn", spool("0")}, 0, 9, 1, 2, ".log"},
		{spoolID{"vpn", spool("0")}, 0, 10, 1, 2, ".log"},
		{spoolID{"vpn", spool("0")}, 0, 10, 1, 2, ".log.gz"},
		{spoolID{"vpn", spool("0")}, 0, 10, 1, 16, ""},
		{spoolID{"vpn", spool("0")}, 0, 10, 2, 3, ""},
		{spoolID{"vpn", spool("a")}, 0, 1, 1, 2, ""},
		{spoolID{"vpn", spool("0")}, 500_000, 1, 1, 2, ""},
	}
	for i := range keys {
		if got, ok := parseDataKey(keys[i].String()); !ok || got != keys[i] {
			t.Errorf("%s is read as %+v, %v", keys[i].String(), got, ok)
		}
		if i > 0 && (keys[i-1].compare(&keys[i]) >= 0 || keys[i-1].String() >= keys[i].String()) {
			t.Errorf("%s and %s are not in this order", keys[i-1].String(), keys[i].String())
		}
	}
}
