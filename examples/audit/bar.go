package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/penstock-go/penstock/ship/audit"
)

// watch draws a progress bar, if w is a terminal, until the returned function is called.
func watch(w io.Writer, o *audit.Options) (done func()) {
	o.Progress = new(audit.Progress)
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				fmt.Fprintf(w, "\r%s\x1b[K", bar(o.Progress))
			case <-stop:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// bar is one line of at most 79 characters. The number of objects grows while chains are read.
func bar(p *audit.Progress) string {
	const width = 24
	m, mOf, n, of := p.Manifests.Load(), p.ManifestsOf.Load(), p.Objects.Load(), p.ObjectsOf.Load()
	part := 0.0
	if mOf+of > 0 {
		part = min(1, float64(m+n)/float64(mOf+of))
	}
	full := int(part * width)
	text := fmt.Sprintf("[%s%s] manifests %d/%d objects %d/%d", strings.Repeat("=", full), strings.Repeat(" ", width-full), m, mOf, n, of)
	if b := p.Bytes.Load(); b > 0 {
		text += fmt.Sprintf(" %d MB", b/1e6)
	}
	return text
}
