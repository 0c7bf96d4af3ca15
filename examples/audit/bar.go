package main

import (
	"fmt"
	"io"

	"github.com/penstock-go/penstock/examples/internal/bar"
	"github.com/penstock-go/penstock/ship/audit"
)

// watch draws a progress bar, if w is a terminal, until the returned function is called.
func watch(w io.Writer, o *audit.Options) (done func()) {
	o.Progress = new(audit.Progress)
	return bar.Draw(w, func() string { return line(o.Progress) })
}

// line returns at most 79 characters. ObjectsOf grows while chains are read.
func line(p *audit.Progress) string {
	m, mOf, n, of := p.Manifests.Load(), p.ManifestsOf.Load(), p.Objects.Load(), p.ObjectsOf.Load()
	part := 0.0
	if mOf+of > 0 {
		part = float64(m+n) / float64(mOf+of)
	}
	text := fmt.Sprintf("manifests %d/%d objects %d/%d", m, mOf, n, of)
	if b := p.Bytes.Load(); b > 0 {
		text += fmt.Sprintf(" %d MB", b/1e6)
	}
	return bar.Line(part, text)
}
