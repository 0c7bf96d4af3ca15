package ship_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// witness notes which objects were declared new; put handles each Put.
type witness struct {
	*shiptest.MemoryDestination
	put func(o ship.Object, body *io.SectionReader) (ship.Receipt, error)

	mu   sync.Mutex
	said []string
}

func (w *witness) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	w.mu.Lock()
	kind, _, _ := strings.Cut(o.Key, "/")
	w.said = append(w.said, fmt.Sprint(kind, " ", o.New))
	w.mu.Unlock()
	if w.put != nil {
		if r, err := w.put(o, body); err != nil {
			return r, err
		}
	}
	return w.MemoryDestination.Put(ctx, o, body)
}

// told returns how objects of a kind were declared since the last call.
func (w *witness) told(kind string) (said []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.said {
		if strings.HasPrefix(s, kind) {
			said = append(said, strings.TrimPrefix(s, kind+" "))
		}
	}
	w.said = nil
	return said
}

// TestNewKeys: a key is declared new once, and only if nothing can have been sent under it before.
func TestNewKeys(t *testing.T) {
	var once sync.Once
	w := &witness{MemoryDestination: shiptest.Memory()}
	d := destinations{"s3": w}
	b := newBench(t, d)
	b.ship(d)
	want := func(what, kind, want string) {
		t.Helper()
		if got := fmt.Sprint(w.told(kind)); got != want {
			t.Errorf("%s: new: %s, want %s", what, got, want)
		}
	}
	b.segments(1, 3)
	b.flush()
	want("a first segment", "class=vpn", "[true]")
	w.put = func(o ship.Object, _ *io.SectionReader) (r ship.Receipt, err error) {
		if strings.HasPrefix(o.Key, "class=") {
			once.Do(func() { err = errors.New("no answer") })
		}
		return r, err
	}
	b.segments(1, 3)
	b.flush()
	want("a segment whose first attempt failed", "class=vpn", "[true false]")
	b.segments(1, 3)
	b.flush()
	want("the manifest after one that this process has published", "_manifest", "[true]")
	if _, err := b.s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := w.told("class=vpn"); strings.Contains(fmt.Sprint(said), "true") {
		t.Errorf("Verify: new: %v", said)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.segments(1, 3) // sealed, and not sent
	b.close()

	// The destination is asked about keys that another process may have used.
	again := openBench(t, b.dir, d, "host-a")
	again.ship(d)
	again.flush()
	w.mu.Lock()
	said := fmt.Sprint(w.said)
	w.mu.Unlock()
	if strings.Contains(said, "class=vpn true") {
		t.Errorf("after a restart: %s", said)
	}
	w.told("")
	again.segments(1, 3)
	again.flush()
	want("a segment that was begun after the restart", "class=vpn", "[true]")
}

// TestAlteredUpload: if a store damages an upload, the log blames the store and not another writer.
func TestAlteredUpload(t *testing.T) {
	w := &witness{MemoryDestination: shiptest.Memory()}
	var once sync.Once
	w.put = func(o ship.Object, _ *io.SectionReader) (r ship.Receipt, err error) {
		if strings.HasPrefix(o.Key, "class=") {
			once.Do(func() {
				w.Set(o.Key, []byte("something else"))
				err = fmt.Errorf("%w: other bytes there", ship.ErrVerify)
			})
		}
		return r, err
	}
	d := destinations{"s3": w}
	b := newBench(t, d)
	b.ship(d, func(o *ship.Options) { o.Backoff = func(int, float64) time.Duration { return time.Millisecond } })
	b.segments(1, 3)
	b.until("the conflict", func() bool { return b.s.Stats()["s3"].State == ship.StateConflict })
	b.until("it is named", func() bool {
		return strings.Contains(b.log.String(), "the upload of this process failed verification")
	})
	if log := b.log.String(); strings.Contains(log, "find out who wrote them") || !strings.Contains(log, "do not delete it") {
		t.Errorf("log:\n%s", log)
	}
}
