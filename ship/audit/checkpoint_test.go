package audit

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
)

// load is loadMarks for a deep audit.
func load(path string) (*marks, error) {
	o := (&Options{Checkpoint: path, Deep: true}).withDefaults()
	return loadMarks(&o)
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(`{"version":1,"deep":true,"marks":[{"place":"idc","class":"vpn","spool":"` + strings.Repeat("0", 26) +
		`","epoch":1,"number":7,"hash":"` + strings.Repeat("ab", 32) + `"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := load(path)
		if err != nil {
			return
		}
		// What was taken is written back as it is.
		if err := m.saveLocked(); err != nil {
			t.Fatal(err)
		}
		again, err := load(path)
		if err != nil || len(again.all) != len(m.all) {
			t.Errorf("%+v, written back: %+v, %v", m.all, again, err)
		}
	})
}

// savedMarks writes a checkpoint with some marks.
func savedMarks(t *testing.T, path string) {
	t.Helper()
	m, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		id := chainID{"idc", object.Origin{Class: "vpn", Spool: strings.Repeat("0", 24) + string([]byte{'0' + byte(i/10), '0' + byte(i%10)})}}
		if err := m.set(id, &link{epoch: 1, number: 7, hash: sha256.Sum256([]byte{byte(i)})}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
}

// TestTornCheckpoint: a checkpoint that a power loss has torn is ignored, and the log says so. A file that never was a checkpoint
// is refused, and stays as it is.
func TestTornCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	savedMarks(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := load(path); err != nil || len(m.all) != 100 || !bytes.HasPrefix(whole, []byte(checkpointHead)) {
		t.Fatalf("%d marks, %v, in %.60q", len(m.all), err, whole)
	}
	zeros := func(n int) []byte { return make([]byte, n) }
	for name, c := range map[string]struct {
		file []byte
		torn bool
	}{
		"empty":                {nil, true},
		"zeros":                {zeros(len(whole)), true},
		"cut":                  {whole[:len(whole)/2], true},
		"cut in the head":      {whole[:9], true},
		"cut before the end":   {whole[:len(whole)-3], true},
		"end of zeros":         {append(bytes.Clone(whole[:4096]), zeros(len(whole)-4096)...), true},
		"beginning of zeros":   {append(zeros(4096), whole[4096:]...), true},
		"middle of zeros":      {append(append(bytes.Clone(whole[:4096]), zeros(4096)...), whole[8192:]...), true},
		"a list":               {[]byte("host-a\nhost-b\n"), false},
		"another JSON":         {[]byte(`{"version":1,"name":"x"}`), false},
		"a newer one":          {[]byte(`{"version":2}`), false},
		"a program":            {append(zeros(64), 0x7f, 'E', 'L', 'F', 0xff), false},
		"a list with a header": {[]byte("{}\nhost-a\n"), false},
	} {
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		o := (&Options{Checkpoint: path, Deep: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}).withDefaults()
		m, err := loadMarks(&o)
		said := strings.Contains(log.String(), "the audit begins again") && strings.Contains(log.String(), path)
		switch {
		case !c.torn && (err == nil || log.Len() > 0):
			t.Errorf("%s: taken for a checkpoint: %s", name, &log)
		case c.torn && (err != nil || len(m.all) > 0 || !said):
			t.Errorf("%s: %v\n%s", name, err, &log)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, c.file) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

// TestCheckpointDurable: a checkpoint is durable before it gets its name, and its name is durable before the audit continues.
func TestCheckpointDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	var ops []string
	defer vfs.Interpose(func(op vfs.Op) error {
		if op.Kind.Mutates() && strings.HasPrefix(op.Path, filepath.Dir(path)) {
			ops = append(ops, op.Kind.String())
		}
		return nil
	})()
	savedMarks(t, path)
	if got := strings.Join(ops, " "); got != "create write sync rename syncdir" {
		t.Errorf("it was written by: %s", got)
	}
}
