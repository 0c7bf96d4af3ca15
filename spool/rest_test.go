package spool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestRestWithoutRaw: a segment's own file was removed to make room before a chain turns out to contain its first records. The
// rest is staged with the same content as before the removal.
func TestRestWithoutRaw(t *testing.T) {
	s := memDir().open(t, Options{Destinations: []string{"a"}})
	all := batch(1, 10, 100)
	mustAppend(t, s, all)
	mustSeal(t, s)
	stage := func() (*StageRecord, string) {
		t.Helper()
		rec, body, done, err := s.shelf.StageRest(t.Context(), s.shelf.Sealed(0, 1)[0].Number, 7, lineEncoder{}, func(put func(uint64, *segment.Record) error) error {
			for i := range all {
				if err := put(uint64(i)+1, &all[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return rec, string(b)
	}
	before, was := stage()
	number := s.shelf.Sealed(0, 1)[0].Number
	if _, err := s.shelf.Stage(t.Context(), number, lineEncoder{}); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.shelf.halve(t.Context(), lineEncoder{}, number, true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if seg, _ := s.shelf.cat.get(number); !seg.NoRaw {
		t.Fatal("its own file is still there")
	}
	after, is := stage()
	if is != was || after.Key != before.Key || after.RawSHA256 != before.RawSHA256 || after.Bytes != before.Bytes || after.First != 7 || after.Records != 4 {
		t.Errorf("staged\n%s%+v\nbefore\n%s%+v", is, after, was, before)
	}
	if entries, err := s.fs.ReadDir(s.path(stageDir)); err != nil || len(entries) != 2 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

// TestRawComesBack: a power cut undoes the deletion of a segment's own file, which made room. It is deleted with the segment.
func TestRawComesBack(t *testing.T) {
	for _, orderly := range []bool{false, true} {
		d := memDir()
		s := d.open(t, Options{Destinations: []string{"a"}})
		mustAppend(t, s, batch(1, 10, 100))
		mustSeal(t, s)
		number := lastSegment(s)
		path := s.segPath(number)
		raw, err := vfs.ReadFile(d.fs, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.shelf.Stage(t.Context(), number, lineEncoder{}); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.shelf.halve(t.Context(), lineEncoder{}, number, true); !ok || err != nil {
			t.Fatal(ok, err)
		}
		closeSpool(t, s)
		if err := vfs.WriteFileAtomic(d.fs, path, raw); err != nil {
			t.Fatal(err)
		}
		if !orderly {
			if err := d.fs.Remove(s.path(cleanName)); err != nil {
				t.Fatal(err)
			}
		}
		s = d.open(t, Options{Destinations: []string{"a"}})
		mustAppend(t, s, batch(11, 10, 100))
		deliver(t, s, "a", number)
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
		if _, err := d.fs.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after an orderly end %v: the file is still there: %v", orderly, err)
		}
		balanced(t, s)
		wantUsedNow(t, s)
		closeSpool(t, s)
	}
}

// TestRestFails: a call that fails after its file was made leaves neither the file nor its bytes in the account of the quota. The
// shipper repeats such a call for as long as the disk refuses.
func TestRestFails(t *testing.T) {
	errDisk := errors.New("the disk refuses")
	for name, refuses := range map[string]func(op vfs.Op) bool{
		"to open the file":    func(op vfs.Op) bool { return op.Kind == vfs.OpOpen && strings.Contains(op.Path, stageDir) },
		"to read the segment": func(op vfs.Op) bool { return op.Kind == vfs.OpRead && strings.Contains(op.Path, segDir) },
	} {
		t.Run(name, func(t *testing.T) {
			made := false
			d := memDir()
			d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
				made = made || op.Kind == vfs.OpSync && strings.Contains(op.Path, stageDir)
				if made && refuses(op) {
					return errDisk
				}
				return nil
			})
			s := d.open(t, Options{Destinations: []string{"a"}, SegmentBytes: 4 << 20})
			mustAppend(t, s, batch(1, 400, 8000)) // more than a reader keeps in memory
			mustSeal(t, s)
			before := s.space.usage().used
			_, _, _, err := s.shelf.StageRest(t.Context(), s.shelf.Sealed(0, 1)[0].Number, 7, lineEncoder{}, nil)
			if !errors.Is(err, errDisk) {
				t.Fatal(err)
			}
			if entries, err := s.fs.ReadDir(s.path(stageDir)); err != nil || len(entries) != 0 {
				t.Errorf("%v is left, %v", entries, err)
			}
			if used := s.space.usage().used; used != before {
				t.Errorf("%d bytes are used, and were %d", used, before)
			}
		})
	}
}

// TestRestOfDamagedFile: a segment's own file is damaged after it was staged, or the disk can no longer read it, and a chain turns out
// to contain its first records. The rest is staged with the same content as before: a gap would be final, and the staged file
// still has every record.
func TestRestOfDamagedFile(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, d *disk, sectors *sectorFS, path string){
		"damaged": func(t *testing.T, d *disk, _ *sectorFS, path string) { flip(t, d, path, 9) },
		"a part refused": func(_ *testing.T, _ *disk, sectors *sectorFS, path string) {
			sectors.refuse(path, 4096+1100, 4096+1100+512)
		},
		"all refused": func(_ *testing.T, _ *disk, sectors *sectorFS, path string) { sectors.refuse(path, 0, 1<<30) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := memDir()
				sectors := &sectorFS{FS: d.fs}
				d.fs = sectors
				s := threeSegments(t, d, Options{SegmentAge: time.Hour})
				n := s.shelf.Sealed(0, 1)[0].Number
				if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil {
					t.Fatal(err)
				}
				all := batch(1, 10, 500)
				rest := func() (*StageRecord, string) {
					t.Helper()
					rec, body, done, err := s.shelf.StageRest(t.Context(), n, 4, lineEncoder{}, func(put func(uint64, *segment.Record) error) error {
						for i := range all {
							if err := put(uint64(i)+1, &all[i]); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					defer done()
					b, err := io.ReadAll(body)
					if err != nil {
						t.Fatal(err)
					}
					return rec, string(b)
				}
				want, was := rest()
				used := s.space.usage().used
				spoil(t, d, sectors, s.shelf.segPath(n))
				got, is := rest()
				if is != was || got.Records != 7 || len(got.Gaps) > 0 || got.Bytes != want.Bytes {
					t.Errorf("%d records, gaps %v, %d bytes of payload; it was %d records, %d bytes", got.Records, got.Gaps, got.Bytes, want.Records, want.Bytes)
				}
				if now := s.space.usage().used; now != used {
					t.Errorf("%d bytes are used, and were %d", now, used)
				}
			})
		})
	}
}

// TestRestsAtTheSameTime: the chains of two destinations contain the same first records of a segment, and each stages the rest. Neither
// call touches the file of the other one.
func TestRestsAtTheSameTime(t *testing.T) {
	for _, raw := range []bool{true, false} {
		t.Run(fmt.Sprintf("own file: %v", raw), func(t *testing.T) {
			s := memDir().open(t, Options{Destinations: []string{"a", "b"}})
			all := batch(1, 10, 100)
			mustAppend(t, s, all)
			mustSeal(t, s)
			n := s.shelf.Sealed(0, 1)[0].Number
			if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil {
				t.Fatal(err)
			}
			if !raw {
				if ok, err := s.shelf.halve(t.Context(), lineEncoder{}, n, true); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			used := s.space.usage().used
			rest := func(enc Encoder) (string, func()) {
				t.Helper()
				rec, body, done, err := s.shelf.StageRest(t.Context(), n, 7, enc, func(put func(uint64, *segment.Record) error) error {
					for i := range all {
						if err := put(uint64(i)+1, &all[i]); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(body)
				if sum := sha256.Sum256(b); err != nil || hex.EncodeToString(sum[:]) != rec.SHA256 || rec.Records != 4 {
					t.Errorf("%d records, %d bytes: %v", rec.Records, len(b), err)
				}
				return string(b), done
			}
			var inner string
			var doneInner func()
			outer, doneOuter := rest(encoderFunc(func(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
				inner, doneInner = rest(lineEncoder{})
				return lineEncoder{}.Encode(ctx, dst, src, want)
			}))
			if inner != outer || outer == "" {
				t.Errorf("one got\n%sand the other one\n%s", inner, outer)
			}
			doneInner()
			doneOuter()
			if entries, err := s.fs.ReadDir(s.path(stageDir)); err != nil || len(entries) != 2 {
				t.Errorf("%v is left, %v", entries, err)
			}
			if now := s.space.usage().used; now != used {
				t.Errorf("%d bytes are used, and were %d", now, used)
			}
		})
	}
}

// encoderFunc is a lineEncoder with another Encode.
type encoderFunc func(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error)

func (f encoderFunc) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	return f(ctx, dst, src, want)
}

func (encoderFunc) Decode(src io.Reader, e object.Encoding) (io.ReadCloser, error) {
	return lineEncoder{}.Decode(src, e)
}
