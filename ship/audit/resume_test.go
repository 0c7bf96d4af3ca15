package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestResume interrupts a deep audit after ever more objects. The next one reads the rest and no object twice, and the
// verdict is the same as in one go.
func TestResume(t *testing.T) {
	p := finished(t)
	path := filepath.Join(t.TempDir(), "checkpoint")
	var opened atomic.Int64
	stop := errors.New("stopped")
	limit := int64(0)
	counted := shiptest.Faulty(p["idc"], func(c shiptest.Call) shiptest.Fault {
		if !strings.HasPrefix(c.Key, "class=") || c.Op == shiptest.Stat && opened.Load() <= limit {
			return shiptest.Fault{}
		}
		if c.Op == shiptest.Stat || c.Op == shiptest.Open && opened.Add(1) > limit {
			return shiptest.FailBefore(ship.Permanent(stop))
		}
		return shiptest.Fault{}
	})
	run := func() (*audit.Result, error) {
		opened.Store(0)
		return audit.Run(t.Context(), &audit.Options{
			Places: []audit.Place{{Name: "idc", Destination: counted}}, Deep: true, Workers: 1, Checkpoint: path,
		})
	}
	runs, total := 0, int64(0)
	for limit = 4; ; limit++ {
		runs++
		r, err := run()
		total += min(opened.Load(), limit)
		if err == nil {
			wants(t, r, audit.Complete)
			break
		}
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
	}
	// With one request in flight at most the object of one manifest of each chain may be read again.
	objects := int64(6 + 5 + 4 + 15)
	if runs < 3 || total > objects+int64(4*runs) {
		t.Errorf("%d objects were read in %d runs, there are %d", total, runs, objects)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
	limit = 1000
	if _, err := run(); err != nil || opened.Load() != objects {
		t.Errorf("a new audit reads %d objects of %d: %v", opened.Load(), objects, err)
	}
}

// TestResumeDamage: what an interrupted audit found wrong is found again, and a chain that has become another is judged
// from its beginning.
func TestResumeDamage(t *testing.T) {
	p := finished(t)
	path := filepath.Join(t.TempDir(), "checkpoint")
	spool, objects := longest(p)
	p["idc"].Set(objects[0], []byte("something else"))
	interrupted := func() {
		ctx, cancel := context.WithCancel(t.Context())
		d := shiptest.Faulty(p["idc"], func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.List && strings.HasPrefix(c.Key, "class=") {
				cancel() // all objects were read by then
			}
			return shiptest.Fault{}
		})
		_, err := audit.Run(ctx, &audit.Options{Places: []audit.Place{{Name: "idc", Destination: d}}, Deep: true, Checkpoint: path})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	resumed := func() *audit.Result {
		r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "idc", Destination: p["idc"]}}, Deep: true, Checkpoint: path})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	interrupted()
	r := resumed()
	wants(t, r, audit.Damaged, audit.ObjectAltered)
	if len(r.Findings) != 1 || r.Findings[0].Key != objects[0] {
		t.Errorf("%+v", r.Findings)
	}
	p["idc"].Set(objects[0], p["s3"].Bytes(objects[0]))

	interrupted()
	p["idc"].Remove(objects[3]) // was right, and is not there any more
	m := &mutator{t: t, at: p["idc"]}
	keys := slices.DeleteFunc(p["idc"].Keys(), func(k string) bool { return !strings.Contains(k, spool+"/000003/") || !isManifest.MatchString(k) })
	last := keys[len(keys)-1]
	x := m.manifest(last)
	x.Header.Instance = "forged"
	p["idc"].Set(last, m.encode(x))
	p["idc"].Set(objects[7], []byte("something else"))
	r = resumed()
	for _, key := range []string{objects[3], objects[7]} {
		if !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Key == key }) {
			t.Errorf("nothing is said of %s: %+v", key, r.Findings)
		}
	}
}

// TestBadCheckpoint: an audit refuses a file that is not a checkpoint, and does not begin again.
func TestBadCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	for _, content := range []string{"{}", `{"version":1,"marks":[{"place":"x"}]}`, `{"version":7}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Destination: shiptest.Memory()}}, Checkpoint: path})
		if err == nil || !strings.Contains(err.Error(), "remove it to start again") {
			t.Errorf("%q: %v", content, err)
		}
	}
}
