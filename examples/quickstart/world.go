package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// world is everything that runs: two servers, two classes, and the Drainer that ends them.
type world struct {
	s3            *s3d.Server
	sftp          *sftpd.Server
	s3Dir, idcDir string
	urls          map[string]string // destination → URL
	classes       []*class
	drainer       *drain.Drainer
	down          atomic.Bool
}

// class is one kind of traffic of the demonstration.
type class struct {
	name, proto string
	run         string
	addr        net.Addr
	listener    ingest.Listener
	spool       *spool.Spool
	shipper     *ship.Shipper
	sent        atomic.Uint64

	lastReceived uint64
	lastTime     time.Time
	rate         float64
}

func build(ctx context.Context, dir string, log *slog.Logger) (*world, error) {
	w := &world{s3Dir: filepath.Join(dir, "s3"), idcDir: filepath.Join(dir, "idc")}
	var err error
	if w.s3, err = s3d.Start(w.s3Dir, &s3d.Options{Buckets: []string{"demo"}, Logger: log}); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(w.idcDir, "logs"), 0o755); err != nil {
		return nil, err
	}
	if w.sftp, err = sftpd.Start(w.idcDir, filepath.Join(dir, "keys"), &sftpd.Options{Logger: log}); err != nil {
		return nil, err
	}
	// The SDK gets its credentials in the usual way, as in a real service; here they are the demonstration's own.
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "penstock", "AWS_SECRET_ACCESS_KEY": "penstock-secret", "AWS_SESSION_TOKEN": ""} {
		if err := os.Setenv(k, v); err != nil {
			return nil, err
		}
	}
	w.urls = map[string]string{
		"s3":  fmt.Sprintf("s3://demo/logs?endpoint=%s&region=us-east-1&path_style=true", w.s3.Endpoint()),
		"idc": w.sftp.URL("logs"),
	}
	w.drainer, err = drain.New(&drain.Options{Dir: filepath.Join(dir, "spool"), Timeout: time.Minute, Logger: log})
	if err != nil {
		return nil, err
	}
	for _, c := range []*class{{name: "vpn", proto: "UDP"}, {name: "web", proto: "TCP"}} {
		if err := w.start(ctx, c, filepath.Join(dir, "spool", c.name), log.With("class", c.name)); err != nil {
			return nil, err
		}
		w.classes = append(w.classes, c)
	}
	return w, nil
}

// start connects the parts of one class as a service would: destinations, spool, shipper, listener.
func (w *world) start(ctx context.Context, c *class, dir string, log *slog.Logger) (err error) {
	c.run = "quickstart-" + c.name
	dests := map[string]ship.Destination{}
	for name, u := range w.urls {
		if dests[name], err = open.Destination(ctx, u, &open.Options{Logger: log}); err != nil {
			return err
		}
	}
	c.spool, err = spool.Open(dir, &spool.Options{
		Class: c.name, Destinations: []string{"idc", "s3"}, Logger: log,
		SegmentBytes: 4 << 20, SegmentAge: 2 * time.Second, MaxBytes: 2 << 30, // small, so that there is something to watch
	})
	if err != nil {
		return err
	}
	if c.shipper, err = ship.New(c.spool, &ship.Options{Destinations: dests}); err != nil {
		return err
	}
	if c.listener, err = ingest.Listen(strings.ToLower(c.proto)+"://127.0.0.1:0", &ingest.Options{Logger: log}); err != nil {
		return err
	}
	c.addr = c.listener.Addr()
	if err := w.drainer.Add(drain.Class{Shipper: c.shipper, Inputs: []drain.Input{c.listener}}); err != nil {
		return err
	}
	go func() {
		if err := c.listener.Serve(c.spool.Intake()); !errors.Is(err, ingest.ErrServerClosed) {
			log.Error("listener ended, and nothing more is received there", "err", err)
		}
	}()
	return nil
}

func (w *world) idcDown(down bool) { w.down.Store(down) }

func (w *world) close() {
	_ = w.sftp.Close()
	_ = w.s3.Close()
}

// send sends n lines to the class's listener at about rate lines per second.
func (c *class) send(ctx context.Context, n uint64, rate int) error {
	conn, err := net.Dial(c.addr.Network(), c.addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	gen, err := fwlog.NewGenerator(c.run, 1)
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var buf []byte
	begin := time.Now()
	for seq := uint64(0); seq < n; {
		now := time.Now()
		due := min(n, uint64(now.Sub(begin).Seconds()*float64(rate)))
		gen.Tick(now)
		for ; seq < due; seq++ {
			buf = gen.Append(buf[:0], 1, seq, 300)
			if c.proto == "TCP" {
				buf = append(buf, '\n')
			}
			if _, err := conn.Write(buf); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.sent.Add(1)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// scene returns the scene, from the counters.
func (w *world) scene(each uint64) scene {
	var s scene
	dests := map[string]*destRow{}
	for _, name := range []string{"s3", "idc"} {
		dests[name] = &destRow{name: name, of: each * uint64(len(w.classes)), down: name == "idc" && w.down.Load()}
	}
	for _, c := range w.classes {
		l, st := c.spool.Ledger(), c.shipper.Stats()
		now := time.Now()
		if dt := now.Sub(c.lastTime).Seconds(); dt > 0.5 {
			c.rate = float64(l.Received.Records-c.lastReceived) / dt
			c.lastReceived, c.lastTime = l.Received.Records, now
		}
		row := classRow{name: c.name, proto: c.proto, sent: c.sent.Load(), received: l.Received.Records, perSecond: c.rate}
		for name, d := range dests {
			got := l.Destinations[name]
			d.delivered += got.Records
			row.backlog = max(row.backlog, l.Kept.Bytes-min(l.Kept.Bytes, got.Bytes))
			if e := st[name].Err; e != nil && d.down {
				d.note = e.Error()
			}
		}
		s.classes = append(s.classes, row)
	}
	s.dests = []destRow{*dests["s3"], *dests["idc"]}
	return s
}

// result is what was found of a class at a destination.
type result struct {
	class, dest string
	*fwlog.Tally
}

// readBack opens the destinations again and reads every object.
func (w *world) readBack(ctx context.Context, each uint64) ([]result, error) {
	var found []result
	for _, c := range w.classes {
		for _, dest := range []string{"s3", "idc"} {
			d, err := open.Destination(ctx, w.urls[dest], &open.Options{Logger: slog.Default()})
			if err != nil {
				return nil, err
			}
			tally := fwlog.NewTally(c.run, each)
			err = open.Records(ctx, d, &open.RecordsOptions{Class: c.name}, func(_ uint64, r segment.Record) error { tally.Add(r.Data); return nil })
			if cl, ok := d.(io.Closer); ok {
				err = errors.Join(err, cl.Close())
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", dest, err)
			}
			found = append(found, result{c.name, dest, tally})
		}
	}
	return found, nil
}

// example returns the path of one object to look at.
func (w *world) example() (path string) {
	_ = filepath.WalkDir(w.idcDir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && path == "" && strings.HasSuffix(p, ".ndjson.zst") {
			path = p
		}
		return err
	})
	return path
}
