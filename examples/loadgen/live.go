package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/penstock-go/penstock/examples/internal/bar"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/examples/loadgen/report"
)

const (
	drawEvery  = 200 * time.Millisecond
	printEvery = 10 * time.Second // without a terminal
)

// screen shows changing lines: in place on a terminal, otherwise as plain lines at longer intervals.
type screen struct {
	w     io.Writer
	live  bool
	lines int // lines drawn last
}

// start shows the lines that text returns until done is called. Unless both outputs are terminals (for example in a pipe), it
// prints the single line that plain returns.
func start(to *output, text func(width int) []string, plain func() string) (done func()) {
	s := &screen{w: to.stderr, live: bar.IsTerminal(to.stdout) && bar.IsTerminal(to.stderr) && os.Getenv("TERM") != "dumb"}
	every := printEvery
	if s.live {
		every = drawEvery
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if s.live {
					s.draw(text(s.width()))
				} else {
					fmt.Fprintln(s.w, plain())
				}
			case <-stop:
				s.draw(nil)
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// width returns the width of the terminal.
func (s *screen) width() int {
	if f, ok := s.w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
			return width
		}
	}
	return 80
}

// draw draws lines over those that were drawn last.
func (s *screen) draw(lines []string) {
	if !s.live {
		return
	}
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	b.WriteString("\r\x1b[J")
	width := s.width()
	for _, l := range lines {
		b.WriteString(shorten(l, width-1))
		b.WriteByte('\n')
	}
	s.lines = len(lines)
	_, _ = io.WriteString(s.w, b.String())
}

// shorten cuts a line to width characters: a wrapped line would break redrawing in place.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(0, width-1)]) + "…"
}

// show shows the progress of a run.
func (s *sending) show(to *output) (done func()) {
	if s.quiet {
		return func() {}
	}
	var history []float64
	last := s.now.Load()
	perSecond := func() (m *moment, rate float64) {
		m = s.now.Load()
		if m.at > last.at {
			rate = float64(m.seq-last.seq) / (m.at - last.at).Seconds()
			history, last = append(history, rate), m
		} else if n := len(history); n > 0 {
			rate = history[n-1]
		}
		return m, rate
	}
	return start(to, func(width int) []string {
		m, rate := perSecond()
		part, of := s.feed.progress(m.seq, m.at)
		speed := units.Grouped(uint64(rate)) + " lines/s"
		if s.profile.Paced() {
			speed += fmt.Sprintf(", wanted %s", units.Grouped(uint64(s.profile.Rate(m.at))))
		}
		lines := []string{
			fmt.Sprintf("%s  %s", s.run, s.profile),
			bar.Line(part, fmt.Sprintf("%3.0f %%  %s", 100*min(1, part), of)),
			fmt.Sprintf("%s lines  %s  %s", units.Grouped(m.seq), units.Size(m.bytes), speed),
			spark(history, min(60, width-2)),
		}
		for i, n := range m.targets[:min(len(m.targets), 8)] {
			lines = append(lines, fmt.Sprintf("%14s  %s", units.Grouped(n), s.targets[i].url))
		}
		return lines
	}, func() string {
		m, rate := perSecond()
		_, of := s.feed.progress(m.seq, m.at)
		return fmt.Sprintf("loadgen: run %s, %s: %s lines, %s, %s lines/s", s.run, of, units.Grouped(m.seq), units.Size(m.bytes), units.Grouped(uint64(rate)))
	})
}

// spark draws the last width values as a row of bars.
func spark(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	high := 1.0
	for _, v := range values {
		high = max(high, v)
	}
	var b strings.Builder
	for _, v := range values {
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[min(7, int(v/high*8))])
	}
	return b.String()
}

// summary formats a report for people.
func summary(r *report.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s: %s lines, %s in %.1f s, %s lines/s\n", r.Run, units.Grouped(r.Sent), units.Size(r.Bytes), r.Seconds, units.Grouped(uint64(float64(r.Sent)/max(r.Seconds, 1e-9))))
	for url, n := range r.Targets {
		fmt.Fprintf(&b, "%14s  %s\n", units.Grouped(n), url)
	}
	if r.Acked > 0 {
		fmt.Fprintf(&b, "%14s  confirmed over RELP\n", units.Grouped(r.Acked))
	}
	if r.Behind > 0 {
		fmt.Fprintf(&b, "%14s  lines behind the profile, at most\n", units.Grouped(r.Behind))
	}
	if p := r.Replay; p != nil {
		fmt.Fprintf(&b, "%14s  packets read\n", units.Grouped(p.Packets))
		for cause, n := range p.Skipped {
			fmt.Fprintf(&b, "%14s  not sent: %s\n", units.Grouped(n), cause)
		}
	}
	return b.String()
}
