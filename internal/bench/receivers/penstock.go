package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// startOurs runs a role of this program as a process, which prints its addresses and then, repeatedly, how many records it has
// stored. If it stores nothing on the disk, its own count is used.
func startOurs(role string, stores bool) func(dir string) (*running, error) {
	return func(dir string) (*running, error) {
		cmd := roleCmd(role, dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		r := &running{cmd: cmd, settle: 300 * time.Millisecond}
		lines := bufio.NewReader(out)
		if _, err := fmt.Fscanln(lines, &r.udp, &r.tcp); err != nil {
			return nil, fmt.Errorf("addresses: %w", err)
		}
		var seen atomic.Uint64
		go func() {
			for {
				var n uint64
				if _, err := fmt.Fscanln(lines, &n); err != nil {
					return
				}
				seen.Store(n)
			}
		}()
		r.stored = func() (uint64, error) { return seen.Load(), nil }
		r.count = r.stored
		if stores {
			r.count = func() (uint64, error) { return countRecords(dir) }
		}
		return r, nil
	}
}

// receive is the receiving part of the collector: listeners and a spool.
func receive(ctx context.Context, dir string, gro bool) error {
	s, err := spool.Open(dir, nil)
	if err != nil {
		return err
	}
	err = serve(ctx, gro, s.Intake(), func() uint64 { return s.Stats().Durable })
	return errors.Join(err, s.Close())
}

// discard runs the listeners without a spool.
func discard(ctx context.Context, gro bool) error {
	var sink counter
	return serve(ctx, gro, &sink, sink.n.Load)
}

// counter is a Sink that counts records and discards them.
type counter struct{ n atomic.Uint64 }

func (c *counter) Append(_ context.Context, b []segment.Record) (uint64, error) {
	return c.n.Add(uint64(len(b))), nil
}

func (c *counter) Offer(ctx context.Context, b []segment.Record) (uint64, error) {
	return c.Append(ctx, b)
}
func (c *counter) Account(segment.Account) {}

func serve(ctx context.Context, gro bool, sink ingest.Sink, stored func() uint64) error {
	u, err := ingest.ListenUDP("127.0.0.1:0", &ingest.UDPOptions{GRO: gro})
	if err != nil {
		return err
	}
	t, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: ingest.Newline})
	if err != nil {
		return err
	}
	served := make(chan error, 2)
	go func() { served <- u.Serve(sink) }()
	go func() { served <- t.Serve(sink) }()
	announce(ctx, u.Addr(), t.Addr(), stored)
	err = errors.Join(u.Shutdown(context.Background()), t.Shutdown(context.Background()))
	<-served
	<-served
	return err
}

// announce prints the addresses and, until ctx ends, how many records are stored.
func announce(ctx context.Context, udp, tcp net.Addr, stored func() uint64) {
	fmt.Println(udp, tcp)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			fmt.Println(stored())
		case <-ctx.Done():
		}
	}
}

// countRecords reads every segment of a closed spool.
func countRecords(dir string) (n uint64, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		k, err := countSegment(name)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		n += k
	}
	return n, nil
}

func countSegment(name string) (n uint64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r, err := segment.NewReader(f, info.Size(), nil)
	if err != nil {
		return 0, err
	}
	for {
		switch _, rec, err := r.Next(); {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return 0, err
		case len(rec.Data) != lineSize && len(rec.Data) != lineSize-1:
			return 0, fmt.Errorf("a record of %d bytes", len(rec.Data))
		}
		n++
	}
}
