package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// ours is the spool. Its segments are acknowledged as soon as they are sealed, so that it recycles files as it does in service.
type ours struct {
	s       *spool.Spool
	scratch sync.Pool // of []segment.Record
	end     context.CancelFunc
	acked   chan struct{}
}

func newOurs(policy spool.SyncPolicy) func(string, shape) (contestant, error) {
	return func(dir string, sh shape) (contestant, error) {
		s, err := spool.Open(filepath.Join(dir, "spool"), &spool.Options{
			Sync: policy, Destinations: []string{"away"}, MaxBytes: 2 << 30,
		})
		if err != nil {
			return nil, err
		}
		o := &ours{s: s, acked: make(chan struct{})}
		o.scratch.New = func() any { b := make([]segment.Record, sh.batch); return &b }
		var ctx context.Context
		ctx, o.end = context.WithCancel(context.Background())
		go o.ack(ctx)
		return o, nil
	}
}

var source = netip.MustParseAddrPort("192.0.2.1:514")

func (o *ours) Append(batch [][]byte) error {
	records := o.scratch.Get().(*[]segment.Record)
	if len(*records) < len(batch) {
		*records = make([]segment.Record, len(batch))
	}
	defer o.scratch.Put(records)
	now := time.Now().UnixNano()
	for i, p := range batch {
		(*records)[i] = segment.Record{Time: now, Src: source, Data: p}
	}
	_, err := o.s.Append(context.Background(), (*records)[:len(batch)])
	return err
}

func (o *ours) syncs() (t syncTimes) {
	all := o.s.Stats().Times.Sync
	for _, n := range all.Counts {
		t.calls += int64(n)
	}
	t.took = all.Sum
	return t
}

// ack acknowledges every segment as delivered.
func (o *ours) ack(ctx context.Context) {
	defer close(o.acked)
	for {
		changed := o.s.Shelf().Changed()
		if segs := o.s.Shelf().Sealed(0, 0); len(segs) > 0 {
			last := segs[len(segs)-1]
			c, err := o.s.Shelf().Chain("away")
			manifest := fmt.Appendf(nil, "%d", last.Number)
			if err == nil {
				err = o.s.Shelf().Propose("away", manifest, false)
			}
			if err == nil && last.Number > c.Segment {
				c.Next, c.Hash, c.Segment, c.Through = c.Next+1, sha256.Sum256(manifest), last.Number, last.Last
				err = o.s.Shelf().Ack("away", c)
			}
			if err != nil {
				panic(err)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (o *ours) Close() error {
	o.end()
	<-o.acked
	return o.s.Close()
}
