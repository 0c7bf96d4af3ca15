package drain

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/internal/scrub"
	"github.com/penstock-go/penstock/ship"
)

// Handler serves GET /livez (the process is alive), /readyz (records of every class can be taken) and /readyz/CLASS. The
// answer is 200 "ok", 503 with the reason, or 404 for an unknown CLASS. If a destination is down, the answer is still
// 200, since its data waits in the spool; if it is fenced, the answer is 503: see Drainer.Ready.
func (d *Drainer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.Ready("")) })
	mux.HandleFunc("GET /readyz/{class}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, d.Ready(r.PathValue("class")))
	})
	return mux
}

// maxReason bounds a line of an answer.
const maxReason = 1000

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		status := http.StatusServiceUnavailable
		if errors.Is(err, ErrNoClass) {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		for line := range strings.SplitSeq(err.Error(), "\n") { // one line for each class
			fmt.Fprintln(w, scrub.Text(line, maxReason))
		}
		return
	}
	fmt.Fprintln(w, "ok")
}

// ErrNoClass is returned by Ready for a class that the Drainer does not know.
var ErrNoClass = errors.New("no such class")

// Ready reports whether records can be taken: nil, or why not. An empty class asks for all classes. A destination that
// is down does not count, since its data waits in the spool. A destination whose chain another owner continues does
// count: it is uncertain whether new records can be delivered there.
func (d *Drainer) Ready(class string) error {
	d.mu.Lock()
	known, ending, classes, down := class == "" || d.knows(class), d.ending, d.classes, maps.Clone(d.down)
	d.mu.Unlock() // the inputs may be code of the program, which must not block the end
	if !known {
		return fmt.Errorf("class %q: %w", class, ErrNoClass)
	}
	if ending {
		return errors.New("shutting down")
	}
	var errs []error
	for _, c := range classes {
		if class != "" && c.name != class {
			continue
		}
		switch st := c.spool.Stats(); {
		case st.Err != nil:
			errs = append(errs, fmt.Errorf("class %s: %w", c.name, st.Err))
		case st.Full:
			errs = append(errs, fmt.Errorf("class %s: spool full: %d of %d bytes", c.name, st.Used, st.Quota))
		}
		for _, l := range c.Inputs {
			if r, ok := l.(receiver); ok {
				if err := r.Ready(); err != nil {
					errs = append(errs, fmt.Errorf("class %s: %w", c.name, err))
				}
			}
		}
		for dest, s := range c.Shipper.Stats() {
			if s.State == ship.StateFenced {
				errs = append(errs, fmt.Errorf("class %s: destination %s: %w", c.name, dest, s.Err))
			}
		}
	}
	for name, err := range down {
		if class == "" || class == name {
			errs = append(errs, fmt.Errorf("class %s: %w", name, err))
		}
	}
	if len(classes)+len(down) == 0 {
		return errors.New("no class is running yet")
	}
	return errors.Join(errs...)
}

// knows reports whether a class was added or reported as down. d.mu is held.
func (d *Drainer) knows(name string) bool {
	_, down := d.down[name]
	return down || slices.ContainsFunc(d.classes, func(c *class) bool { return c.name == name })
}
