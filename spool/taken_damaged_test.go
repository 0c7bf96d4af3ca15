package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// TestKeyTakenBeforeDamage: a segment was uploaded, the process ended before a manifest named it, and then a record and the
// stage record were damaged. The object still has everything, and stays. The remaining records of the segment are delivered as
// another object, in both kinds of formats, without an operator.
func TestKeyTakenBeforeDamage(t *testing.T) {
	for _, format := range []string{"ndjson", "lines"} {
		t.Run(format, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { keyTakenBeforeDamage(t, format) }) })
	}
}

func keyTakenBeforeDamage(t *testing.T, format string) {
	dest := shiptest.Memory()
	upload := shiptest.Faulty(dest, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && strings.HasPrefix(c.Key, "class=") {
			return shiptest.FailAfter(errors.New("no answer"))
		}
		return shiptest.Fault{}
	})
	var logs bytes.Buffer
	h := spool.NewMemHost()
	if err := liveAs(t, h, map[string]ship.Destination{"dest": dest}, format, io.Discard, "the chain's first"); err != nil {
		t.Fatal(err)
	}
	var records []string
	for i := range 30 {
		records = append(records, fmt.Sprintf("record %02d %s", i, strings.Repeat("x", 300)))
	}
	if err := liveAs(t, h, map[string]ship.Destination{"dest": upload}, format, io.Discard, records...); err == nil {
		t.Fatal("delivered without a manifest")
	}
	first := objects(dest)
	if len(first) != 2 {
		t.Fatalf("objects: %v", first)
	}
	segments, err := h.Files().ReadDir("/spool/seg")
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	number := strings.TrimSuffix(segments[0].Name(), ".seg")
	overwrite(t, h.Files(), "/spool/stage/"+number+".json", []byte("{"))
	overwrite(t, h.Files(), "/spool/seg/"+number+".seg", []byte("record 15"))
	h.LoseIndex()
	if err := liveAs(t, h, map[string]ship.Destination{"dest": dest}, format, &logs); err != nil {
		t.Fatal(err)
	}
	all := objects(dest)
	if len(all) != 3 {
		t.Fatalf("objects: %v", all)
	}
	if !strings.Contains(logs.String(), "uploaded before records in it were damaged") {
		t.Errorf("nobody is told where the record still is:\n%s", &logs)
	}
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "dest", Destination: dest}}, Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Code != audit.ObjectUnknown && f.Code != audit.RecordsDamaged && f.Code != audit.Open {
			t.Errorf("%+v", f)
		}
	}
	if got := string(dest.Bytes(first[1])); !strings.Contains(got, "record 15") {
		t.Errorf("the object from before the damage has lost the record: %q", got)
	}
}

// overwrite damages the file where it first has these bytes.
func overwrite(t *testing.T, mem *vfs.Mem, path string, at []byte) {
	t.Helper()
	f, err := mem.OpenRW(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, at)
	if i < 0 {
		t.Fatalf("%s has no %q", path, at)
	}
	if _, err := f.WriteAt([]byte{^at[0]}, int64(i)); err != nil {
		t.Fatal(err)
	}
}

func objects(d *shiptest.MemoryDestination) (keys []string) {
	for _, key := range d.Keys() {
		if strings.HasPrefix(key, "class=") {
			keys = append(keys, key)
		}
	}
	return keys
}
