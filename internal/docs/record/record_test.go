//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a program sends to redraw its lines leaves the lines that a terminal would show, wherever the reads cut it.
func TestScreen(t *testing.T) {
	const sent = "a\x1b[1mb\x1b[0m\r\n\x1b[32m██░\x1b[0m x\r\n" + // two lines
		"\x1b[2A\x1b[2Kc\r\n\x1b[2K\x1b[31mdown\x1b[0m\r\n\x1b[J" + // drawn again
		"0123456789abc\r\n"
	want := []line{
		{{0, "", "c"}},
		{{0, "r", "down"}},
		{{0, "", "0123456789"}},
		{{0, "", "abc"}},
	}
	for cut := range len(sent) {
		s := &screen{columns: 10}
		if err := errors.Join(s.write([]byte(sent[:cut])), s.write([]byte(sent[cut:]))); err != nil {
			t.Fatal(err)
		}
		if got := s.lines(); !slices.EqualFunc(got, want, func(a, b line) bool { return slices.Equal(a, b) }) {
			t.Fatalf("cut at %d: %v", cut, got)
		}
	}
}

// A sequence that the screen does not know is an error, not a wrong picture.
func TestUnknownSequence(t *testing.T) {
	for _, sent := range []string{"\x1b[35mviolet", "\x1b[2B", "\x1b]0;title\a", "\t"} {
		if err := (&screen{columns: 10}).write([]byte(sent)); err == nil {
			t.Errorf("%q: no error", sent)
		}
	}
}

// The program runs on a terminal, and its exit code counts.
func TestRecord(t *testing.T) {
	frames, err := record(t.Context(), 40, time.Minute, "sh", "-c", `[ -t 1 ] && echo '<terminal>'`)
	if err != nil {
		t.Fatal(err)
	}
	last := frames[len(frames)-1].lines
	if len(last) != 2 || text(last[1]) != "<terminal>" {
		t.Errorf("%v", last)
	}
	if _, err := record(context.Background(), 40, time.Minute, "sh", "-c", "exit 3"); err == nil {
		t.Error("no error for a program that failed")
	}
}

// The last frame is what a reader without animations sees, and a line that does not change is drawn once.
func TestDraw(t *testing.T) {
	command := line{{0, "b", "x < y"}}
	svg := string(draw([]frame{
		{0, []line{command}},
		{time.Second, []line{command, {{0, "", "early"}}}},
		{2 * time.Second, []line{command, {{2, "g", "late & last"}}}},
	}, 40))
	wellFormed(t, []byte(svg))
	for _, want := range []string{
		`<text y="29"><tspan x="16" textLength="40" lengthAdjust="spacingAndGlyphs" class="b">x &lt; y</tspan></text>`,
		`<text y="47" class="p" style="animation-delay:1.00s;animation-duration:1.00s"><tspan x="16" textLength="40" lengthAdjust="spacingAndGlyphs">early<`,
		`<text y="47" class="l" style="animation-duration:2.00s"><tspan x="32" textLength="88" lengthAdjust="spacingAndGlyphs" class="g">late &amp; last<`,
		`width="352" height="68"`,
	} {
		if strings.Count(svg, want) != 1 {
			t.Errorf("not once: %s\n%s", want, svg)
		}
	}
}

// The picture that README shows is one of the quickstart, and of a run in which all went well.
func TestQuickstartPicture(t *testing.T) {
	svg, err := os.ReadFile("../quickstart.svg")
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, svg)
	for _, want := range []string{"go run ./examples/quickstart", "DOWN", "idc is back", "nothing lost, nothing doubled", "prefers-color-scheme:dark"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("internal/docs/quickstart.svg lacks %q", want)
		}
	}
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
