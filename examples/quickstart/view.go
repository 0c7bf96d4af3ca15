package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/penstock-go/penstock/examples/internal/units"
	"golang.org/x/term"
)

// view shows the progress: redrawn in place on a terminal, otherwise as one plain line per second.
type view struct {
	out   io.Writer
	live  bool
	width int
	drawn int // lines drawn last, to move back over
	begin time.Time
	last  time.Time
}

// scene is what the view shows at one moment.
type scene struct {
	stage   string // "sending", "draining", "reading back"
	classes []classRow
	dests   []destRow
	events  []string // newest last
}

type classRow struct {
	name, proto string
	sent        uint64
	received    uint64
	perSecond   float64
	backlog     uint64 // bytes of payload that some destination has not received yet
}

type destRow struct {
	name      string
	down      bool
	note      string
	delivered uint64
	of        uint64
}

func newView() *view {
	v := &view{out: os.Stdout, width: 80, begin: time.Now()}
	if term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("TERM") != "dumb" {
		v.live = true
		if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && w > 20 {
			v.width = w
		}
	}
	return v
}

var dim, bold, red, green, reset = colours(os.Getenv("NO_COLOR"))

// colours are empty if NO_COLOR is set to anything (https://no-color.org).
func colours(noColor string) (dim, bold, red, green, reset string) {
	if noColor != "" {
		return
	}
	return "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
}

// show draws the scene; without a terminal, at most once a second.
func (v *view) show(s scene) {
	now := time.Now()
	if !v.live {
		if now.Sub(v.last) < time.Second {
			return
		}
		v.last = now
		fmt.Fprintln(v.out, v.plain(s))
		return
	}
	lines := []string{
		fmt.Sprintf("%sPenstock quickstart%s  %s%-14s %5.1f s%s", bold, reset, dim, s.stage, now.Sub(v.begin).Seconds(), reset),
		"",
	}
	for _, c := range s.classes {
		lines = append(lines, fmt.Sprintf("  %-4s %s  in %9s records  %8s/s   not delivered yet %9s",
			c.name, c.proto, units.Grouped(c.received), units.Grouped(uint64(c.perSecond)), units.Size(c.backlog)))
	}
	lines = append(lines, "")
	for _, d := range s.dests {
		bar, colour := progress(d.delivered, d.of, 24), green
		note := d.note
		if d.down {
			colour, note = red, "DOWN  "+d.note
		}
		lines = append(lines, fmt.Sprintf("  %-4s %s%s%s %9s of %9s delivered and verified  %s",
			d.name, colour, bar, reset, units.Grouped(d.delivered), units.Grouped(d.of), note))
	}
	lines = append(lines, "")
	for _, e := range s.events {
		lines = append(lines, dim+"  "+e+reset)
	}
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, l := range lines {
		b.WriteString("\x1b[2K" + clip(l, v.width) + "\n")
	}
	b.WriteString("\x1b[J")
	v.drawn = len(lines)
	_, _ = io.WriteString(v.out, b.String())
}

func (v *view) plain(s scene) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5.1f s  %-12s", time.Since(v.begin).Seconds(), s.stage)
	for _, c := range s.classes {
		fmt.Fprintf(&b, "  %s in %s", c.name, units.Grouped(c.received))
	}
	for _, d := range s.dests {
		state := ""
		if d.down {
			state = " (down)"
		}
		fmt.Fprintf(&b, "  %s delivered %s%s", d.name, units.Grouped(d.delivered), state)
	}
	return b.String()
}

// clip cuts a line to the width of the terminal, not counting escape sequences: a wrapped line would break redrawing in place.
func clip(s string, width int) string {
	n, esc := 0, false
	for i, r := range s {
		switch {
		case r == '\x1b':
			esc = true
		case esc:
			esc = r != 'm' && r != 'K'
		default:
			if n++; n > width-1 {
				return s[:i] + reset
			}
		}
	}
	return s
}

func progress(n, of uint64, width int) string {
	full := 0
	if of > 0 {
		full = int(min(n, of) * uint64(width) / of)
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
