package spool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestHoleIsSentToAll: records are missing that one destination has in part. The empty segment in their place has a number that both
// destinations still get, so that both chains continue without a gap.
func TestHoleIsSentToAll(t *testing.T) {
	for name, hurt := range map[string]func(t *testing.T, s *Spool, left *world, segs []Segment, begun []byte){
		// The process died after it had noted the first of two segments as lost. The header of the second one is unreadable too.
		"under a noted number": func(t *testing.T, s *Spool, left *world, segs []Segment, _ []byte) {
			file := numberName(segs[1].Number) + segExt
			if err := left.mem.Rename(s.path(segDir, file), s.asidePath(file)); err != nil {
				t.Fatal(err)
			}
			noted := newSpool(newSite(nil, "/spool", left.mem, left.opts.withDefaults())).damages
			if err := noted.note(segs[1].Number, []segment.Range{{First: segs[1].First, Last: segs[1].Last}}, 0, "lost"); err != nil {
				t.Fatal(err)
			}
			if err := vfs.WriteFileAtomic(left.mem, s.segPath(segs[2].Number), []byte("no header")); err != nil {
				t.Fatal(err)
			}
			left.index = new(index.Mem)
		},
		// All of these segments are gone, and the note of the newest one is an older copy.
		"under the number in an old note": func(t *testing.T, s *Spool, left *world, segs []Segment, begun []byte) {
			for _, seg := range segs[1:] {
				if err := left.mem.Remove(s.segPath(seg.Number)); err != nil {
					t.Fatal(err)
				}
			}
			if err := vfs.WriteFileAtomic(left.mem, s.path(begunName), begun); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(Options{Destinations: []string{"a", "b"}, SegmentAge: time.Hour})
				s, err := open("/spool", w.mem, w.index.Open, &w.opts)
				if err != nil {
					t.Fatal(err)
				}
				defer closeSpool(t, s)
				defer s.shelf.hold()()
				var old []byte
				for i := range 4 {
					mustAppend(t, s, batch(1+10*i, 10, 100))
					synctest.Wait()
					if i == 1 {
						if old, err = vfs.ReadFile(w.mem, s.path(begunName), 1<<20); err != nil {
							t.Fatal(err)
						}
					}
					mustSeal(t, s)
				}
				segs := s.shelf.Sealed(0, 0)
				deliver(t, s, "a", segs[1].Number)
				deliver(t, s, "b", segs[0].Number)
				synctest.Wait()
				left := w.clone(processDies, index.Fate{})
				hurt(t, s, left, segs, old)

				s2, err := open("/spool", left.mem, left.index.Open, &left.opts)
				if err != nil {
					t.Fatal(err)
				}
				defer closeSpool(t, s2)
				for _, dest := range left.opts.Destinations {
					c, err := s2.shelf.Chain(dest)
					if err != nil {
						t.Fatal(err)
					}
					next := s2.shelf.Sealed(c.Segment, 1)
					if len(next) != 1 || next[0].First > c.Through+1 || next[0].Last <= c.Through {
						t.Errorf("%s has the records up to %d, and gets %+v", dest, c.Through, next)
					}
				}
			})
		})
	}
}
