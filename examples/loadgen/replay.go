package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/examples/loadgen/capture"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/examples/loadgen/report"
)

func replayCommand() *command {
	c := &command{
		name: "replay", does: "sends the datagrams of captures",
		synopsis: []string{"-to URL [-to URL …] [-speed N | -rate N | -profile PROFILE] [flags] FILE [FILE …]"},
		set:      cli.NewSet("loadgen replay"), arguments: true,
		text: `FILE is a capture in the form of pcap or pcapng, as tcpdump and Wireshark write them, also gzipped. The UDP datagrams in it are sent to the targets at the times at which they were captured, each source of the capture from one of the sockets. Fragments of IPv4 are joined. Every packet that is not sent is counted, with its cause.

With -stamp each line gets an end that check recognises: its run, its number and a checksum of all its bytes. The format of a target's URL has no meaning here: what was captured is sent.

  tcpdump -i eth0 -w fw.pcap udp port 514
  loadgen replay -to udp://192.0.2.1:514 -port 514 -speed 10 -stamp -report m1.json fw.pcap
  loadgen check -report m1.json -at 's3://logs/ingest?region=eu-central-1'

A file that is damaged or cut off ends the run with an error, after the datagrams before the damage were sent.`,
	}
	l, r := new(load), new(replayed)
	var port uint
	l.flags(c.set)
	c.set.UintVar(&port, "port", 0, "send only datagrams that were for this `PORT`; 0: all")
	c.set.Float64Var(&r.speed, "speed", 1, "send `N` times as fast as captured; 0: as fast as possible")
	c.set.BoolVar(&r.stamp, "stamp", false, "give each line an end that check recognises")
	c.do = func(ctx context.Context, to *output) error {
		l.check(c.set)
		if port > math.MaxUint16 {
			c.set.Bad("port", "", "%d: use 0 to %d", port, math.MaxUint16)
		}
		if !(r.speed >= 0 && r.speed <= 1e6) {
			c.set.Bad("speed", "", "%g: use 0 to 1e6", r.speed)
		}
		if l.profile.Paced() {
			r.speed = 0
		}
		r.files, r.port, r.run, r.sources = c.set.Args(), uint16(port), l.run, l.sources
		if len(r.files) == 0 {
			return c.refused(errors.New("FILE is missing"))
		}
		if err := c.refused(); err != nil {
			return err
		}
		for _, path := range r.files {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			r.size += info.Size()
		}
		defer r.close()
		r.seed = maphash.MakeSeed()
		return l.send(ctx, to, r)
	}
	return c
}

// replayed is a feed of the datagrams in captures.
type replayed struct {
	files   []string
	port    uint16
	speed   float64 // 0: the profile sets the times
	stamp   bool
	run     string
	sources int
	seed    maphash.Seed

	file   *os.File
	reader *capture.Reader
	opened time.Duration // when the file's first datagram is due in the run
	first  time.Time     // the time of that datagram in the capture
	next   *capture.Datagram
	err    error // the error that ends the run
	done   report.Replay

	size int64        // of all files, in bytes
	read atomic.Int64 // bytes read so far
}

// fill implements feed. All lines of a batch have the same source.
func (r *replayed) fill(b *batch, to *targetURL, source *int, seq uint64, at time.Duration, most int) error {
	for len(b.ends) < most {
		if err := r.peek(at); err != nil {
			if errors.Is(err, errDone) && len(b.ends) > 0 {
				return nil // the next call returns errDone again
			}
			return err
		}
		d := r.next
		if r.speed > 0 && r.opened+time.Duration(float64(d.Time.Sub(r.first))/r.speed) > at {
			return nil
		}
		from := int(maphash.Comparable(r.seed, d.Source) % uint64(r.sources))
		if len(b.ends) > 0 && from != *source {
			return nil
		}
		r.next = nil
		line := d.Payload
		if r.stamp {
			line = fwlog.Stamp(line, r.run, from, seq+uint64(len(b.ends)))
		}
		if cause := to.refuses(line); cause != "" {
			r.skip(cause, 1)
			continue
		}
		*source = from
		b.buf = append(b.buf, line...)
		b.end()
	}
	return nil
}

// refuses returns why a line cannot be sent unchanged; "" if it can.
func (u *targetURL) refuses(line []byte) string {
	switch {
	case len(line) == 0:
		return "empty"
	case len(line) > maxLine:
		return "too long with its stamp"
	case u.framing == "newline" && containsLF(line):
		return "has a line feed, which the framing newline would cut at"
	}
	return ""
}

func containsLF(line []byte) bool {
	for _, c := range line {
		if c == '\n' {
			return true
		}
	}
	return false
}

// peek sets next to the next datagram of the files.
func (r *replayed) peek(at time.Duration) error {
	for r.next == nil {
		if r.err != nil {
			return r.err
		}
		if r.reader == nil {
			if len(r.files) == 0 {
				return errDone
			}
			r.open()
			continue
		}
		d, err := r.reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			r.end()
		case err != nil:
			r.err = fmt.Errorf("%s: %w; %d packets before it were read", r.file.Name(), err, r.reader.Packets())
		default:
			if r.first.IsZero() {
				r.first, r.opened = d.Time, at
			}
			r.next = &d
		}
	}
	return nil
}

// open opens the next file.
func (r *replayed) open() {
	path := r.files[0]
	r.files, r.first = r.files[1:], time.Time{}
	r.done.Files = append(r.done.Files, path)
	if r.file, r.err = os.Open(path); r.err != nil {
		return
	}
	var err error
	if r.reader, err = capture.NewReader(&counting{r.file, &r.read}, r.port); err != nil {
		r.err = fmt.Errorf("%s: %w", path, err)
	}
}

// end closes a file and adds its counts to the sums.
func (r *replayed) end() {
	if r.reader != nil {
		r.done.Packets += r.reader.Packets()
		for cause, n := range r.reader.Skipped() {
			r.skip(cause, n)
		}
	}
	_ = r.file.Close() // it was only read
	r.file, r.reader = nil, nil
}

func (r *replayed) close() {
	if r.file != nil {
		r.end()
	}
}

func (r *replayed) skip(cause string, n uint64) {
	if r.done.Skipped == nil {
		r.done.Skipped = map[string]uint64{}
	}
	r.done.Skipped[cause] += n
}

// account returns what was read, after sent lines were sent.
func (r *replayed) account(sent uint64) *report.Replay {
	r.close()
	left := r.done.Packets - sent
	for _, n := range r.done.Skipped {
		left -= n
	}
	if left > 0 {
		r.skip("read, but not sent before the run ended", left)
	}
	r.done.Stamped = r.stamp
	return &r.done
}

func (r *replayed) lineSize() int { return 0 }

func (r *replayed) progress(uint64, time.Duration) (float64, string) {
	n := r.read.Load()
	return float64(n) / float64(max(1, r.size)), fmt.Sprintf("%s of %s read", units.Size(uint64(n)), units.Size(uint64(r.size)))
}

// counting counts the bytes that are read.
type counting struct {
	io.Reader
	n *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
