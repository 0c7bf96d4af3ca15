package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestCloseEndsForeignCode: a destination's stream, an Encoder and a caller's records neither come to an end nor look at a context.
// Close abandons them after the grace, and nothing of them reaches a file afterwards.
func TestCloseEndsForeignCode(t *testing.T) {
	for name, call := range map[string]func(t *testing.T, s *Spool, n uint64, hang func()) error{
		"Restore": func(t *testing.T, s *Spool, n uint64, hang func()) error {
			return s.shelf.Restore(t.Context(), n, readerFunc(func([]byte) (int, error) { hang(); return 0, io.EOF }))
		},
		"StageRest, Encoder": func(t *testing.T, s *Spool, n uint64, hang func()) error {
			enc := encoderFunc(func(context.Context, io.Writer, *segment.Reader, *object.Encoding) (out object.Encoded, err error) {
				hang()
				return out, nil
			})
			_, _, _, err := s.shelf.StageRest(t.Context(), n, 7, enc, nil)
			return err
		},
		"StageRest, records": func(t *testing.T, s *Spool, n uint64, hang func()) error {
			if ok, err := s.shelf.halve(t.Context(), lineEncoder{}, n, true); !ok || err != nil {
				t.Error(ok, err)
			}
			_, _, _, err := s.shelf.StageRest(t.Context(), n, 7, lineEncoder{}, func(put func(uint64, *segment.Record) error) error {
				hang()
				r := record(1, 100)
				if err := put(1, &r); !errors.Is(err, foreign.ErrAbandoned) {
					t.Errorf("a record after the end: %v", err)
				}
				return nil
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, n := stagedOnce(t, memDir(), Options{})
				release := make(chan struct{})
				result := make(chan error, 1)
				go func() { result <- call(t, s, n, func() { <-release }) }()
				synctest.Wait()
				began := time.Now()
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }()
				time.Sleep(2 * foreign.Grace)
				synctest.Wait()
				select {
				case err := <-closed:
					if err != nil {
						t.Error(err)
					}
					if err := <-result; !errors.Is(err, ErrClosed) {
						t.Errorf("the call ended with %v", err)
					}
				default:
					t.Errorf("Close still waits after %v", time.Since(began))
				}
				close(release)
				synctest.Wait()
			})
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestRestoreWithinQuota: a file that is brought back does not exceed the quota while something can be given up for it. If nothing
// can, the log says that it does.
func TestRestoreWithinQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(lines)
		s, n := stagedOnce(t, memDir(), Options{SegmentAge: time.Hour, Logger: l.logger()})
		defer closeSpool(t, s)
		staged, err := vfs.ReadFile(s.fs, s.objPath(n), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		restore := func() int64 {
			t.Helper()
			if err := s.fs.Remove(s.objPath(n)); err != nil {
				t.Fatal(err)
			}
			s.shelf.cat.update(n, func(c *sealed) { c.StagedSize = 0 })
			q := s.space.usage()
			s.space.add(q.ceiling - q.used)
			if err := s.shelf.Restore(t.Context(), n, bytes.NewReader(staged)); err != nil {
				t.Fatal(err)
			}
			q = s.space.usage()
			return q.used - q.ceiling
		}
		mustAppend(t, s, batch(11, 1, 1000))
		synctest.Wait() // until a spare is ready
		const told = "exceeds its quota"
		if over := restore(); over > 0 || len(l.take(told)) > 0 {
			t.Errorf("%d bytes beyond the quota, with a spare that nobody needs", over)
		}
		for s.space.makeRoom() {
		}
		if restore(); len(l.take(told)) != 1 {
			t.Error("the log does not say that the quota is exceeded")
		}
	})
}
