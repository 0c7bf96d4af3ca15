package main

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// testCloud is the behaviour that a reaper expects of EC2: of the fake, and of moto if installed. strict: it lets only one of
// two instances attach a volume, and refuses to detach a free volume.
func testCloud(t *testing.T, a, b *cloud, strict bool, make func() string, settle func()) {
	t.Helper()
	ctx := t.Context()
	id := make()
	find := func() *Volume {
		t.Helper()
		all, err := a.Volumes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(v Volume) bool { return v.ID == id })
		if i < 0 {
			return nil
		}
		return &all[i]
	}
	v := find()
	if v == nil || v.State != "available" || v.Attached != nil || v.Tags[tagFleet] != "penstock" || v.Zone != a.zone || time.Since(v.Created).Abs() > 20*365*24*time.Hour {
		t.Fatalf("%+v", v)
	}
	if err := a.Attach(ctx, id, "/dev/sdg"); err != nil {
		t.Fatal(err)
	}
	if strict {
		if err := b.Attach(ctx, id, "/dev/sdg"); !errors.Is(err, ErrTaken) {
			t.Errorf("attached twice: %v", err)
		}
	}
	settle()
	if v = find(); v == nil || v.State != "in-use" || v.Attached == nil || v.Attached.Instance != a.instance || v.Attached.Device != "/dev/sdg" || v.Attached.State != "attached" {
		t.Fatalf("%+v", v)
	}
	if err := a.Tag(ctx, id, map[string]string{tagState: delivered, tagReason: note(time.Now(), a.instance, "ümlaut, \"quotes\"")}); err != nil {
		t.Error(err)
	}
	if err := a.Delete(ctx, id); !errors.Is(err, ErrTaken) {
		t.Errorf("deleted while it is in use: %v", err)
	}
	if err := a.Detach(ctx, id, "/dev/sdg"); err != nil {
		t.Error(err)
	}
	settle()
	if err := a.Detach(ctx, id, "/dev/sdg"); strict && err != nil {
		t.Errorf("detached again: %v", err)
	}
	if v = find(); v == nil || v.State != "available" || v.Tags[tagState] != delivered || v.noted().IsZero() {
		t.Fatalf("%+v", v)
	}
	if err := a.Delete(ctx, id); err != nil {
		t.Error(err)
	}
	settle()
	if v = find(); v != nil {
		t.Errorf("%+v", v)
	}
	for what, err := range map[string]error{
		"delete": a.Delete(ctx, id), "attach": a.Attach(ctx, id, "/dev/sdg"), "tag": a.Tag(ctx, id, map[string]string{tagState: kept}),
	} {
		if !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
