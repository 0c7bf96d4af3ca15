package drain

import (
	"errors"
	"fmt"
	"net/http"
)

// Handler serves GET /livez (the process answers), /readyz (records of every class can be taken) and /readyz/CLASS:
// 200 "ok", 503 with the reason, or 404 for a CLASS that there is not. A destination that is down leaves them 200: its data waits in the
// spool. One that is fenced does not, see Drainer.Ready.
func (d *Drainer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.Ready("")) })
	mux.HandleFunc("GET /readyz/{class}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, d.Ready(r.PathValue("class")))
	})
	return mux
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		status := http.StatusServiceUnavailable
		if errors.Is(err, ErrNoClass) {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}
