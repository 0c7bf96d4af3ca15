package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/examples/loadgen/shape"
)

// load holds the settings that send and replay share.
type load struct {
	to      []string
	run     string
	sources int
	profile shape.Profile
	spread  shape.Spread
	rate    float64
	report  string
	page    string
	quiet   bool
}

func (l *load) flags(s *cli.Set) {
	s.List(&l.to, "to", "`URL` of a target: "+targetForms+"; several targets share the load in turn")
	s.IntVar(&l.sources, "sources", 8, "sockets to send from, per target")
	s.Float64Var(&l.rate, "rate", 0, "lines per second over all targets; 0: as fast as possible")
	s.Value("profile", "`PROFILE` of the rate over time, instead of -rate: "+shape.Profiles, func(v string) (err error) {
		l.profile, err = shape.ParseProfile(v)
		return err
	})
	s.Text(&l.run, "run", "`NAME` of the run (default: random). Each machine's run needs a name of its own")
	s.Text(&l.report, "report", "write all that is known of the run to `FILE`, as JSON: for check")
	s.Text(&l.page, "page", "write a page with plots to `FILE`, as HTML")
	s.BoolVar(&l.quiet, "quiet", false, "show no progress")
}

// check completes the settings and adds mistakes in them to s.
func (l *load) check(s *cli.Set) {
	if len(l.to) == 0 {
		s.Bad("to", "", "the flag is missing")
	}
	for _, u := range l.to {
		if _, err := parseTarget(u); err != nil {
			s.Bad("to", u, "%w", err)
		}
	}
	if l.sources < 1 || l.sources > 10000 {
		s.Bad("sources", "", "%d: use 1 to 10000", l.sources)
	}
	switch {
	case !(l.rate >= 0 && l.rate <= 1e9):
		s.Bad("rate", "", "%g: use 0 to 1e9", l.rate)
	case l.rate > 0 && l.profile.Paced():
		s.Bad("profile", "", "use either -rate or -profile")
	case l.rate > 0:
		l.profile = shape.Constant(l.rate)
	}
	if l.run == "" {
		l.run = rand.Text()[:12]
	}
	if err := fwlog.CheckRun(l.run); err != nil {
		s.Bad("run", "", "%w", err)
	}
}

func sendCommand() *command {
	c := &command{
		name: "send", does: "makes lines and sends them",
		synopsis: []string{"-to URL [-to URL …] [-rate N | -profile PROFILE] -count N | -for TIME [flags]"},
		set:      cli.NewSet("loadgen send"),
		text: `Each line is a syslog message that contains its run, its source, its sequence number and a checksum.

A day's load in ten minutes, of 200 clients of which one sends half:

  loadgen send -to udp://192.0.2.1:514 -sources 200 -spread zipf:s=1,first=0.5 -profile day:from=3000,to=40000,period=10m -for 10m -report m1.json -page m1.html

RELP, TLS with octet counting, and RFC 3164:

  loadgen send -to 'relp://192.0.2.1:2514?window=1000' -rate 20000 -for 1m
  loadgen send -to 'tls://log.example:6514?framing=octet&ca=ca.pem' -rate 20000 -for 1m
  loadgen send -to 'udp://192.0.2.1:514?format=rfc3164' -rate 20000 -for 1m

Over TCP and TLS, "sent" is what the kernel has taken; at the end send waits until the peer has closed its side. Over RELP, every line is confirmed, or send says how many are not. A connection that breaks ends the run: a line that was sent twice would look as if it had been duplicated on its way.`,
	}
	l := new(load)
	var size int
	var count uint64
	var length time.Duration
	l.flags(c.set)
	c.set.IntVar(&size, "size", 512, "size of a line in bytes")
	c.set.Uint64Var(&count, "count", 0, "number of lines to send")
	c.set.Duration(&length, "for", "how long to send, as a `TIME` such as 90s or 10m")
	c.set.Value("spread", "`SPREAD` of the lines over the sources: "+shape.Spreads+" (default even)", func(v string) (err error) {
		l.spread, err = shape.ParseSpread(v)
		return err
	})
	c.do = func(ctx context.Context, to *output) error {
		l.check(c.set)
		if (count == 0) == (length <= 0) {
			c.set.Bad("count", "", "give either -count or -for")
		}
		if size < fwlog.MinSize || size > maxLine {
			c.set.Bad("size", "", "%d: use %d to %d", size, fwlog.MinSize, maxLine)
		}
		if err := c.refused(); err != nil {
			return err
		}
		gen, err := fwlog.NewGenerator(l.run, uint64(time.Now().UnixNano()))
		if err != nil {
			return err
		}
		return l.send(ctx, to, &made{gen: gen, size: size, count: count, length: length})
	}
	return c
}

// feed makes lines for targets.
type feed interface {
	// fill puts lines for a target into a batch: at most most lines, the first with sequence number seq. at is the time since
	// the start. source is the source whose turn it is; a feed with its own sources changes it. If no line is due, the batch
	// stays empty. After an error the lines in the batch are sent before the run ends. errDone means that there are no more
	// lines.
	fill(b *batch, to *targetURL, source *int, seq uint64, at time.Duration, most int) error
	// lineSize returns the size of every line; 0 if sizes differ.
	lineSize() int
	// progress returns which part is done, from 0 to 1, and describes it in words.
	progress(seq uint64, at time.Duration) (part float64, of string)
}

var errDone = errors.New("done")

// made is a feed of generated lines.
type made struct {
	gen    *fwlog.Generator
	size   int
	count  uint64        // of lines; 0: no limit
	length time.Duration // 0: no limit
}

func (m *made) fill(b *batch, to *targetURL, source *int, seq uint64, at time.Duration, most int) error {
	if m.length > 0 && at >= m.length || m.count > 0 && seq >= m.count {
		return errDone
	}
	if m.count > 0 {
		most = int(min(uint64(most), m.count-seq))
	}
	m.gen.Tick(time.Now())
	for i := range most {
		b.buf = m.gen.AppendAs(b.buf, to.format, *source, seq+uint64(i), m.size)
		b.end()
	}
	return nil
}

func (m *made) lineSize() int { return m.size }

func (m *made) progress(seq uint64, at time.Duration) (float64, string) {
	if m.count > 0 {
		return float64(seq) / float64(m.count), fmt.Sprintf("%s of %s lines", units.Grouped(seq), units.Grouped(m.count))
	}
	return at.Seconds() / m.length.Seconds(), fmt.Sprintf("%s of %s", at.Truncate(time.Second), m.length)
}
