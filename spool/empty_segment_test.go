package spool

import (
	"crypto/sha256"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// A segment without records, which states losses only, was proposed to a destination, and its file is damaged. The destination can acknowledge
// it, and what follows.
func TestEmptySegmentLost(t *testing.T) {
	for how, change := range map[string]func(b []byte) []byte{
		"no footer":   func(b []byte) []byte { return b[:headerPad] },
		"deleted":     nil,
		"half footer": func(b []byte) []byte { return b[:len(b)-512] },
	} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(Options{Sync: SyncAlways, Destinations: []string{"a"}})
			s, err := open("/spool", w.mem, w.index.Open, &w.opts)
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, batch(1, 10, 300))
			mustSeal(t, s)
			n := lastSegment(s)
			deliver(t, s, "a", n)
			s.Intake().Account(segment.Account{
				Received: segment.Tally{Records: 3, Bytes: 30}, Filtered: segment.Tally{Records: 3, Bytes: 30},
			})
			mustSeal(t, s)
			empty := lastSegment(s)
			if seg, _ := s.shelf.cat.get(empty); empty == n || seg.Records != 0 {
				t.Fatalf("segment %d: %+v", empty, seg)
			}
			c, err := s.shelf.Chain("a")
			if err != nil {
				t.Fatal(err)
			}
			manifest := []byte("of losses")
			if err := s.shelf.Propose("a", manifest, false); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, batch(11, 10, 300))
			path := s.segPath(empty)
			k := w.clone(processDies, index.Fate{})
			closeSpool(t, s)
			if change == nil {
				err = k.mem.Remove(path)
			} else {
				var b []byte
				if b, err = vfs.ReadFile(k.mem, path, 1<<30); err == nil {
					err = vfs.WriteFileAtomic(k.mem, path, change(b))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, err = open("/spool", k.mem, k.index.Open, &k.opts); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, batch(21, 10, 300))
			mustSeal(t, s)
			c.Next, c.Segment, c.Hash = c.Next+1, empty, sha256.Sum256(manifest)
			if err := s.shelf.Ack("a", c); err != nil {
				t.Error(err)
			}
			deliver(t, s, "a", lastSegment(s))
			if l := s.Ledger(); l.Kept.Records != 30 || l.Damaged.Records != 0 || l.Filtered.Records != 3 || s.Stats().Pending["a"].Records != 0 {
				t.Errorf("ledger %+v, damages %+v, pending %v", l, s.shelf.Damages(), s.Stats().Pending)
			}
			balanced(t, s)
			closeSpool(t, s)
		})
	}
}
