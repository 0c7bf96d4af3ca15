package ship_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// interceptor answers instead of the destination until over, as a driver reports a middlebox that answers everything with 200
// and a page of HTML.
type interceptor struct {
	*shiptest.MemoryDestination
	from, to time.Time
}

const page = "<html><body>We will be back soon.</body></html>\n"

func (i *interceptor) on() bool { return time.Now().After(i.from) && time.Now().Before(i.to) }

func (i *interceptor) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if i.on() {
		return ship.Receipt{}, fmt.Errorf("%w: %d bytes there, %d here", ship.ErrConflict, len(page), o.Size)
	}
	return i.MemoryDestination.Put(ctx, o, body)
}

func (i *interceptor) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	if i.on() {
		return ship.Receipt{Size: int64(len(page)), Method: "head", Time: time.Now()}, nil
	}
	return i.MemoryDestination.Stat(ctx, key)
}

func (i *interceptor) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if i.on() {
		return io.NopCloser(strings.NewReader(page)), nil
	}
	return i.MemoryDestination.Open(ctx, key)
}

// TestIntercepted: something other than the store answers for 20 s, before the chain is begun or in the middle of it. It
// is an outage like any other: a flush that has a minute ends well, and a verification finds nothing wrong.
func TestIntercepted(t *testing.T) {
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprint("from the start: ", early), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := &interceptor{MemoryDestination: shiptest.Memory()}
				d := destinations{"s3": mem}
				b := newBench(t, d)
				defer b.close()
				b.segments(3, 10)
				if !early {
					b.ship(d, bubble)
					b.flush()
				}
				mem.from, mem.to = time.Now(), time.Now().Add(20*time.Second)
				time.Sleep(time.Millisecond)
				b.segments(3, 10)
				if early {
					b.ship(d, bubble)
				}
				time.Sleep(5 * time.Second)
				if st := b.s.Stats()["s3"]; st.State != ship.StateRetrying {
					t.Errorf("while it lasts: %+v", st)
				}
				b.flush()
				mem.from, mem.to = time.Now(), time.Now().Add(20*time.Second)
				time.Sleep(time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := b.s.Verify(ctx); err != nil {
					t.Errorf("Verify: %v", err)
				}
				b.audit(mem.MemoryDestination)
			})
		})
	}
}

// TestFlushUsesItsTime: the object that blocks a chain is removed while a flush waits.
func TestFlushUsesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := shiptest.Memory()
		d := destinations{"s3": mem}
		b := newBench(t, d)
		defer b.close()
		key := object.ManifestKey("vpn", b.sp.Stats().Spool, 1, 0)
		mem.Set(key, []byte("a stranger's"))
		b.segments(1, 10)
		b.ship(d, bubble)
		time.AfterFunc(40*time.Second, func() { mem.Remove(key) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.s.Flush(ctx); err != nil {
			t.Errorf("Flush: %v", err)
		}
		if b.s.Stats()["s3"].Failures[ship.FailureConflict] == 0 { // Err may be of an attempt that the removal has interrupted
			t.Errorf("there was no conflict, the test is void: %+v", b.s.Stats()["s3"])
		}
	})
}
