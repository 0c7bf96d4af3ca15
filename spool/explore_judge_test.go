package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// fault is a part of the contract that a run has broken. Kind is the same for all runs that break it in this way.
type fault struct{ kind, detail string }

// judge checks the contract after a run in which every host has done what it could.
func (w *world) judge(ctx context.Context) (faults []fault) {
	say := func(kind, format string, args ...any) {
		faults = append(faults, fault{kind, fmt.Sprintf(format, args...)})
	}
	owed := slices.Clone(w.owed)
	for _, h := range w.hosts {
		owed = append(owed, h.own...)
		for _, s := range h.said {
			say("conflict", "%s: %s", h.name, s)
		}
	}
	whole := true
	for _, name := range w.names() {
		got, err := delivered(ctx, w.to[name])
		if err != nil {
			say("unreadable", "%s: %v", name, err)
		}
		for _, r := range owed {
			switch n := got[r]; {
			case n == 0:
				whole = false
				say("missing", "%s: record %q is in no chain", name, r)
			case n > 1:
				say("doubled", "%s: record %q is there %d times", name, r, n)
			}
		}
	}
	for _, h := range w.hosts {
		// Who has given up although nothing is missing was only late: it may rest.
		if h.err != nil && !whole {
			say("stuck", "%s, after %d lives: %v", h.name, h.life, h.err)
		}
	}
	faults = append(faults, w.writers()...)
	return append(faults, w.audit(ctx)...)
}

// writers finds manifests that two hosts have taken for their own. One that a host has found and sent once more, before it
// followed, is its maker's.
func (w *world) writers() (faults []fault) {
	for place, hosts := range w.wrote {
		name, key, _ := strings.Cut(place, " ")
		if len(hosts) < 2 || !strings.HasPrefix(key, "_manifest/") || strings.Contains(key, "/heads/") {
			continue
		}
		m, err := ship.DecodeManifest(bytes.NewReader(w.to[name].Bytes(key)))
		made := 0
		for _, h := range w.hosts {
			if err == nil && slices.Contains(hosts, h.name) && m.Header.Instance == h.instance() {
				made++
			}
		}
		if made != 1 {
			faults = append(faults, fault{"two writers", fmt.Sprintf("%s was confirmed to %q", place, hosts)})
		}
	}
	return faults
}

// delivered counts the records in the objects that the chains of a place name.
func delivered(ctx context.Context, d *shiptest.MemoryDestination) (map[string]int, error) {
	got := map[string]int{}
	for _, key := range d.Keys() {
		if !strings.HasPrefix(key, "_manifest/") || strings.Contains(key, "/heads/") {
			continue
		}
		m, err := ship.DecodeManifest(bytes.NewReader(d.Bytes(key)))
		if err != nil {
			return got, fmt.Errorf("%s: %w", key, err)
		}
		for _, s := range m.Segments {
			if s.Records == 0 {
				continue
			}
			if err := count(d, s.Key, got); err != nil {
				return got, fmt.Errorf("%s: %w", s.Key, err)
			}
		}
	}
	return got, ctx.Err()
}

// count adds the records of an object.
func count(d *shiptest.MemoryDestination, key string, got map[string]int) error {
	r, err := format.NewReader(format.NDJSON, bytes.NewReader(d.Bytes(key)))
	if err != nil {
		return err
	}
	for {
		_, rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Close()
		}
		if err != nil {
			return err
		}
		got[string(rec.Data)]++
	}
}

// audit asks the auditor, who sees the destinations only.
func (w *world) audit(ctx context.Context) (faults []fault) {
	o := &audit.Options{Deep: true}
	for _, name := range w.names() {
		o.Places = append(o.Places, audit.Place{Name: name, Destination: w.to[name]})
	}
	r, err := audit.Run(ctx, o)
	if err != nil {
		return []fault{{"audit", err.Error()}}
	}
	for _, f := range r.Findings {
		if f.Verdict == audit.Complete {
			continue // for information
		}
		faults = append(faults, fault{"audit " + f.Code, fmt.Sprintf("%s: %s %s %d-%d %s", f.Place, f.Code, f.Key, f.First, f.Last, f.Detail)})
	}
	if r.Verdict != audit.Complete && len(faults) == 0 {
		faults = append(faults, fault{"audit", "verdict " + string(r.Verdict)})
	}
	return faults
}
