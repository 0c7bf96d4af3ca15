package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// held is how many records the successor of full holds.
const held = 400

// full is a class that has taken over, with more in memory than its spool has room for, and its Drainer.
func full(t *testing.T) (*class, *drain.Drainer) {
	t.Helper()
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil { // nothing is delivered, so nothing makes room
		t.Fatal(err)
	}
	c, err := parseFlags([]string{"-spool=" + filepath.Join(dir, "spool"), "-listen=vpn=udp://127.0.0.1:0", "-dest=a=file://" + filepath.Join(blocked, "a"), "-segment-bytes=65536", "-spool-max-bytes=1572864"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	classes, err := prepare(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	cl := classes[0]
	cl.served, cl.attaches = new(served), newAttaches(t.Context())
	d, err := drain.New(&drain.Options{Dir: dir, Before: []drain.Step{{Name: "holds", Run: cl.attaches.stop}}})
	if err != nil {
		t.Fatal(err)
	}
	cl.hold = ingest.NewHold(&ingest.HoldOptions{MemoryBytes: 64 << 20, Logger: log})
	for range held {
		batch := []segment.Record{{Time: 1, Data: make([]byte, 8<<10)}}
		cl.hold.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 8 << 10}})
		if _, err := cl.hold.Offer(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	return cl, d
}

// TestEndWhileAttaching: a successor whose spool is full is told to end, and puts the records in memory into the spool.
func TestEndWhileAttaching(t *testing.T) {
	nowhere(t)
	cl, d := full(t)
	heard, settled := make(chan struct{}), make(chan struct{})
	cl.attaches.busy.Go(func() {
		defer close(settled)
		cl.settle(d, func() {
			select {
			case <-heard:
			default:
				close(heard)
			}
		})
	})
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		t.Fatal("a full spool keeps the process from hearing of its end")
	}
	for began := time.Now(); !cl.spool.Stats().Full; {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("the spool does not fill up: %+v", cl.spool.Stats())
		}
	}
	r, err := d.Stop(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	<-settled
	got := r.Classes["vpn"]
	if left := cl.hold.Held(); left.Records != 0 || got.Kept.Records != held || got.Lost[segment.GivenUp].Records != 0 {
		t.Errorf("%d records are still in memory: %s", left.Records, r.JSON())
	}
}

// closeLater is a listener that is closed only after the test has sent more data to it: Close counts data that Shutdown has not
// read as lost.
type closeLater struct {
	ingest.Listener
	send func()
}

func (l *closeLater) Shutdown(ctx context.Context) error {
	l.send()
	return l.Listener.Shutdown(ctx)
}

func (l *closeLater) Close() error {
	l.send()
	return l.Listener.Close()
}

// TestEndBeforeAttached: if a successor ends before its class is attached, the data in its sockets is put into the spool, even
// if the spool is full.
func TestEndBeforeAttached(t *testing.T) {
	nowhere(t)
	cl, d := full(t)
	if err := cl.bind(nil); err != nil {
		t.Fatal(err)
	}
	l := cl.listeners[0]
	c, err := net.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl.serve(cl.hold, d)
	const n = 50
	cl.listeners[0] = &closeLater{l, sync.OnceFunc(func() {
		for range n {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			for began := time.Now(); l.Stats().Received.Records == 0; { // the others stay in the socket while this one waits for room
				if time.Since(began) > 10*time.Second {
					t.Errorf("the listener has not read the datagram: %+v", l.Stats())
					return
				}
			}
		}
	})}
	cl.attaches.busy.Go(func() {
		<-cl.attaches.ending.Done()
		cl.settle(d, func() {})
	})
	if _, err := d.Stop(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(cl.dir, &cl.spoolOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a := s.Ledger(); a.Kept.Records != held+n || a.Lost.Total().Records != 0 {
		t.Errorf("%d records are kept, %d are lost: %s", a.Kept.Records, a.Lost.Total().Records, a.Lost.Text())
	}
}

// TestEndBeforeAttachedFullDisk: the same on a disk without room. What it does not take is counted as lost, and no listener waits for it.
func TestEndBeforeAttachedFullDisk(t *testing.T) {
	nowhere(t)
	cl, d := full(t)
	if err := cl.bind(nil); err != nil {
		t.Fatal(err)
	}
	l := cl.listeners[0]
	c, err := net.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl.serve(cl.hold, d)
	const n = 50
	cl.listeners[0] = &closeLater{l, sync.OnceFunc(func() {
		for range n {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Error(err)
			}
		}
	})}
	var sp *spool.Spool
	var noRoom atomic.Bool
	defer vfs.Interpose(func(op vfs.Op) error {
		if noRoom.Load() && op.Kind == vfs.OpCreate && strings.HasPrefix(op.Path, cl.dir) {
			return syscall.ENOSPC
		}
		return nil
	})()
	cl.attaches.busy.Go(func() {
		<-cl.attaches.ending.Done()
		cl.settle(d, sync.OnceFunc(func() {
			sp = cl.spool
			noRoom.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if _, err := sp.Append(ctx, []segment.Record{{Data: []byte("x")}}); err == nil { // the spool learns that there is no room
				t.Error("the disk has room")
			}
		}))
	})
	began := time.Now()
	if _, err := d.Stop(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second { // of the 30 s that a Stop has
		t.Errorf("the listeners waited for room for %s", took)
	}
	a := sp.Ledger()
	if lost := a.Lost.Total().Records; a.Received.Records != held+n+1 || lost != held+n {
		t.Errorf("%d records are received, %d kept, %d lost: %s", a.Received.Records, a.Kept.Records, lost, a.Lost.Text())
	}
}
