package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/examples/internal/bar"
	"github.com/penstock-go/penstock/examples/loadgen/report"
)

// sending is a run in progress.
type sending struct {
	*load
	feed    feed
	targets []*target
	begin   time.Time
	seq     uint64
	sources []uint64 // lines of each source, over all targets
	course  report.Course
	behind  uint64
	now     atomic.Pointer[moment] // for the progress
}

// moment is what the progress display shows.
type moment struct {
	at      time.Duration
	seq     uint64
	bytes   uint64
	targets []uint64
}

// send sends the lines of a feed, and reports the result.
func (l *load) send(ctx context.Context, to *output, f feed) error {
	s := &sending{load: l, feed: f, sources: make([]uint64, l.sources)}
	defer func() {
		for _, t := range s.targets {
			t.abort()
		}
	}()
	for _, u := range l.to {
		t, err := dial(ctx, u, l.sources, f.lineSize())
		if err != nil {
			return err
		}
		s.targets = append(s.targets, t)
	}

	// A peer that reads nothing must not keep a signal from ending the program.
	defer context.AfterFunc(ctx, func() {
		for _, t := range s.targets {
			t.interrupt()
		}
	})()
	s.begin = time.Now()
	s.note(0)
	done := s.show(to)
	sendErr := s.pace(ctx)
	took := time.Since(s.begin)
	for _, t := range s.targets {
		sendErr = errors.Join(sendErr, t.close(ctx))
	}
	done()
	if sendErr != nil {
		sendErr = fmt.Errorf("%w; %d lines were sent", sendErr, s.seq)
	}
	return errors.Join(sendErr, l.publish(to, s.report(took, sendErr)))
}

// pace sends until the feed is done. To keep the rate, it sends in each millisecond the lines that are due. After a late
// wake-up it catches up in bursts of at most maxBurst, so that a pause in this process does not flood the receiver.
func (s *sending) pace(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	picker := s.spread.Picker(s.load.sources, uint64(s.begin.UnixNano()))
	var b batch
	for turn := 0; ctx.Err() == nil; {
		at := time.Since(s.begin)
		if s.course.Wants(at) {
			s.note(at)
		}
		most := maxBurst
		if s.profile.Paced() {
			due := uint64(s.profile.Due(at))
			s.behind = max(s.behind, due-min(due, s.seq))
			most = int(min(maxBurst, due-min(due, s.seq)))
		}
		t := s.targets[turn%len(s.targets)]
		source := 0
		if most > 0 {
			source = picker.Next()
		}
		b.reset()
		err := s.feed.fill(&b, t.parts, &source, s.seq, at, most)
		if err == nil && len(b.ends) == 0 {
			<-tick.C
			continue
		}
		if errors.Is(err, errDone) {
			return nil
		}
		n, sendErr := t.send(source, &b)
		s.seq += uint64(n)
		s.sources[source] += uint64(n)
		if ctx.Err() != nil {
			return nil // interrupted
		}
		if err = errors.Join(err, sendErr); err != nil {
			return err
		}
		turn++
	}
	return nil
}

func (s *sending) bytes() (n uint64) {
	for _, t := range s.targets {
		n += t.bytes
	}
	return n
}

// note takes a sample for the report and the progress display.
func (s *sending) note(at time.Duration) {
	m := &moment{at: at, seq: s.seq, bytes: s.bytes()}
	for _, t := range s.targets {
		m.targets = append(m.targets, t.lines)
	}
	s.course.Add(at, m.seq, m.bytes, uint64(s.profile.Due(at)))
	s.now.Store(m)
}

// report returns the results at the end.
func (s *sending) report(took time.Duration, err error) *report.Report {
	host, _ := os.Hostname() // "" if it is unknown
	r := &report.Report{
		Version: report.Version, Run: s.run, Host: host, Started: s.begin.UTC(), Seconds: took.Seconds(),
		Profile: s.profile.String(), Spread: s.spread.String(), Size: s.feed.lineSize(),
		Sent: s.seq, Bytes: s.bytes(), Behind: s.behind, Targets: map[string]uint64{}, SourceCount: s.load.sources,
		Samples: s.course.Samples(took, s.seq, s.bytes(), uint64(s.profile.Due(took))),
	}
	for _, t := range s.targets {
		r.Targets[t.url] += t.lines
		n, _ := t.acked()
		r.Acked += n
	}
	slices.SortFunc(s.sources, func(a, b uint64) int { return cmp.Compare(b, a) })
	r.Sources = s.sources[:min(len(s.sources), report.MaxSources)]
	if f, ok := s.feed.(*replayed); ok {
		r.Replay, r.Spread = f.account(s.seq), "as captured"
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// publish prints a report, and writes the requested files.
func (l *load) publish(to *output, r *report.Report) error {
	var errs []error
	if l.report != "" {
		errs = append(errs, report.WriteJSON(l.report, r))
	}
	if l.page != "" {
		errs = append(errs, report.WritePage(l.page, &report.Check{Reports: []report.Report{*r}}, version()))
	}
	if bar.IsTerminal(to.stdout) {
		fmt.Fprint(to.stdout, summary(r))
		return errors.Join(errs...)
	}
	short := *r
	short.Samples, short.Sources = nil, nil
	line, err := json.Marshal(short)
	if err == nil {
		_, err = fmt.Fprintf(to.stdout, "%s\n", line)
	}
	return errors.Join(append(errs, err)...)
}
