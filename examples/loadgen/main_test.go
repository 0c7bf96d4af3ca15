package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/examples/loadgen/report"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call runs a command, and returns its standard output.
func call(ctx context.Context, c *command, args ...string) (string, error) {
	var out bytes.Buffer
	err := c.run(ctx, args, &out, io.Discard)
	return out.String(), err
}

// peer accepts connections, and hands each to serve.
func peer(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "tcp://" + l.Addr().String()
}

// TestSendEndsOnSignal: whatever a peer does or does not do, a signal ends send within a few seconds, and the number of sent
// lines is reported.
func TestSendEndsOnSignal(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"never reads":   func(net.Conn) {},
		"never answers": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, // and keeps its side open
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context()) // as a signal does
			defer cancel()
			var begun sync.Once
			url := peer(t, func(c net.Conn) {
				if _, err := io.ReadFull(c, make([]byte, 512+1)); err == nil { // a whole line has arrived, so it was sent
					begun.Do(func() { time.AfterFunc(700*time.Millisecond, cancel) }) // by then unread data has filled the buffers
				}
				serve(c)
			})
			args := []string{"-to", url, "-for", "1h", "-run", "signal"}
			if name == "never answers" {
				args = []string{"-to", url, "-count", "1000", "-run", "signal"} // send waits for the peers to close
			}
			var out string
			done := make(chan error, 1)
			go func() {
				defer cancel() // if it ends too early, it did not wait for a signal
				var err error
				out, err = call(ctx, sendCommand(), args...)
				done <- err
			}()
			<-ctx.Done()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), "whether it has read everything is unknown") {
					t.Errorf("%v", err)
				}
			case <-time.After(20 * time.Second): // without a signal it waits for answerTime, 30 s
				t.Fatal("it goes on 20 s after the signal")
			}
			var r report.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil || r.Sent == 0 || r.Bytes != r.Sent*512 || r.Error == "" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// writeObject writes an object with the lines of a run.
func writeObject(t *testing.T, dir, run string, lines int) {
	t.Helper()
	gen, err := fwlog.NewGenerator(run, 1)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for i := range lines {
		b.Write(gen.Append(nil, 0, uint64(i), 200))
		b.WriteByte('\n')
	}
	path := filepath.Join(dir, "class=vpn", "dt=2026-11-28", "hour=10", "x.log")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// flaky breaks each body after some bytes.
type flaky struct {
	ship.Destination
	ship.Lister
	opened int
}

func (f *flaky) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	b, err := f.Destination.Open(ctx, key)
	f.opened++
	if err != nil || f.opened > 5 {
		return b, err
	}
	return &cut{b, f.opened * 1000}, nil
}

type cut struct {
	io.ReadCloser
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errors.New("connection reset by peer")
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestCheckGoesOn: connections that break while objects are listed and read delay the check, but do not change the counts.
func TestCheckGoesOn(t *testing.T) {
	dir := t.TempDir()
	writeObject(t, dir, "run", 100)
	d, err := fileship.New(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lists := shiptest.Faulty(d, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.List && c.N < 3 {
			return shiptest.FailBefore(errors.New("connection refused"))
		}
		return shiptest.Fault{}
	})
	f := &flaky{Destination: d, Lister: lists}
	n := 0
	if err := open.Records(t.Context(), f, nil, func(uint64, segment.Record) error { n++; return nil }); err != nil || n != 100 || f.opened != 6 {
		t.Errorf("%d lines, the object was opened %d times: %v", n, f.opened, err)
	}
}

// TestCheckDoesNotGuess: lines that could not be read do not count as missing.
func TestCheckDoesNotGuess(t *testing.T) {
	dir := t.TempDir()
	writeObject(t, dir, "run", 100)
	bad := filepath.Join(dir, "class=vpn", "dt=2026-11-28", "hour=10", "y.unknown")
	if err := os.WriteFile(bad, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := call(t.Context(), checkCommand(), "-run", "run", "-sent", "200", "-at", "file://"+dir)
	if !errors.Is(err, errNotAll) || !strings.Contains(out, `"missing":null`) || !strings.Contains(out, "not everything could be read") {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	out, err = call(t.Context(), checkCommand(), "-run", "run", "-sent", "200", "-at", "file://"+dir)
	if !errors.Is(err, errNotAll) || !strings.Contains(out, `"missing":100`) {
		t.Errorf("%v: %s", err, out)
	}
}
