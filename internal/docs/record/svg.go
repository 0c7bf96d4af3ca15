//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The size of a character and of the margins. Each piece of text states its width, so that lines end where they end on the terminal
// whatever font the reader has.
const (
	charWidth  = 8.0
	lineHeight = 18
	margin     = 16
)

// A piece that is not in the last frame is hidden, except during its time; one that is in the last frame is visible, except before its
// time. So the last frame remains where there are no animations.
const style = `
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;fill:#1f2328;white-space:pre}
rect{fill:#f6f8fa;stroke:#d1d9e0}
.b{font-weight:700}.d{fill:#59636e}.r{fill:#cf222e}.g{fill:#1a7f37}
.p{visibility:hidden;animation:p 1s}.l{animation:l 1s}
@keyframes p{from,to{visibility:visible}}
@keyframes l{from,to{visibility:hidden}}
@media(prefers-reduced-motion:reduce){.p,.l{animation:none}}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#0d1117;stroke:#3d444d}.d{fill:#9198a1}.r{fill:#ff7b72}.g{fill:#3fb950}}
`

// draw returns the SVG document.
func draw(frames []frame, columns int) []byte {
	last := frames[len(frames)-1]
	rows := 0
	for _, f := range frames {
		rows = max(rows, len(f.lines))
	}
	width, height := 2*margin+int(charWidth)*columns, 2*margin+lineHeight*rows
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\" role=\"img\">\n", width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escape(text(last.lines[0])), style)
	fmt.Fprintf(&b, "<rect x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", width-1, height-1)
	for row := range rows {
		for i := 0; i < len(frames); {
			l := at(frames[i], row)
			next := i + 1
			for next < len(frames) && slices.Equal(at(frames[next], row), l) {
				next++
			}
			begin := frames[i].at.Seconds()
			switch {
			case len(l) == 0:
			case next < len(frames):
				drawLine(&b, row, l, fmt.Sprintf(" class=\"p\" style=\"animation-delay:%.2fs;animation-duration:%.2fs\"", begin, frames[next].at.Seconds()-begin))
			case i > 0:
				drawLine(&b, row, l, fmt.Sprintf(" class=\"l\" style=\"animation-duration:%.2fs\"", begin))
			default:
				drawLine(&b, row, l, "")
			}
			i = next
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func drawLine(b *bytes.Buffer, row int, l line, attributes string) {
	fmt.Fprintf(b, "<text y=\"%d\"%s>", margin+lineHeight*row+13, attributes)
	for _, p := range l {
		class := ""
		if p.style != "" {
			class = " class=\"" + p.style + "\""
		}
		fmt.Fprintf(b, "<tspan x=\"%g\" textLength=\"%g\" lengthAdjust=\"spacingAndGlyphs\"%s>%s</tspan>",
			margin+charWidth*float64(p.column), charWidth*float64(utf8.RuneCountInString(p.text)), class, escape(p.text))
	}
	b.WriteString("</text>\n")
}

// at returns a line of a frame, which is empty where the frame has fewer.
func at(f frame, row int) line {
	if row >= len(f.lines) {
		return nil
	}
	return f.lines[row]
}

func text(l line) string {
	var b strings.Builder
	for _, p := range l {
		b.WriteString(p.text)
	}
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
