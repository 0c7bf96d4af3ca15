package spool

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// slowEncoder waits before it reads, and finds the last record damaged then.
type slowEncoder struct {
	lineEncoder
	begun, goOn chan struct{}
}

func (e slowEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	close(e.begun)
	<-e.goOn
	out, err := e.lineEncoder.Encode(ctx, dst, src, want)
	last := src.Header().First + out.Records - 1
	out.Records, out.Gaps = out.Records-1, []segment.Range{{First: last, Last: last}}
	return out, err
}

// If a segment is deleted while it is staged, no count changes: every destination has it.
func TestStageOfSegmentThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memDir().open(t, Options{Destinations: []string{"a"}})
		defer s.Close()
		mustAppend(t, s, batch(1, 10, 400))
		mustSeal(t, s)
		e := slowEncoder{begun: make(chan struct{}), goOn: make(chan struct{})}
		staged := make(chan error)
		go func() {
			_, err := s.shelf.Stage(t.Context(), 1, e)
			staged <- err
		}()
		<-e.begun
		deliver(t, s, "a", 1)
		synctest.Wait() // deleted
		used := s.Stats().Used
		close(e.goOn)
		if err := <-staged; !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("staged what is gone: %v", err)
		}
		balanced(t, s)
		if got := s.Stats().Used; got != used {
			t.Errorf("%d bytes are used, %d were", got, used)
		}
	})
}
