// Package bar draws progress bars on terminals.
package bar

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Draw draws line ten times a second until the returned function is called, if w is a terminal that can redraw lines.
func Draw(w io.Writer, line func() string) (done func()) {
	if !IsTerminal(w) || os.Getenv("TERM") == "dumb" {
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
				fmt.Fprintf(w, "\r%s\x1b[K", line())
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

// Line returns a bar of 24 characters, filled in proportion to part (0 to 1), followed by text.
func Line(part float64, text string) string {
	const width = 24
	full := int(min(1, max(0, part)) * width)
	return fmt.Sprintf("[%s%s] %s", strings.Repeat("=", full), strings.Repeat(" ", width-full), text)
}
