package monitor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock-go/penstock/drain/status"
)

// TestNilSource: a Source that is nil is an error where metrics are registered or asked for, and never a panic.
func TestNilSource(t *testing.T) {
	var watch *status.Watch
	for name, from := range map[string]Source{"nil": nil, "typed": watch} {
		t.Run(name, func(t *testing.T) {
			says := func(what, text string) {
				t.Helper()
				if !strings.Contains(text, errNoSource.Error()) {
					t.Errorf("%s: %q", what, text)
				}
			}
			err := prometheus.NewRegistry().Register(New(from))
			if err == nil {
				t.Fatal("it was registered")
			}
			says("Register", err.Error())

			ch := make(chan prometheus.Metric, 1)
			New(from).Collect(ch)
			err = (<-ch).Write(new(dto.Metric)) // as a registry does
			if err == nil {
				t.Fatal("it was collected")
			}
			says("Collect", err.Error())

			answer := httptest.NewRecorder()
			Handler(from).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			if answer.Code != http.StatusInternalServerError {
				t.Errorf("Handler: status %d", answer.Code)
			}
			says("Handler", answer.Body.String())
		})
	}
}

// bad is a Source of which every call fails.
type bad struct{ panics bool }

func (b bad) Snapshot() *status.Snapshot {
	if b.panics {
		panic("out of order")
	}
	return nil
}

// TestBadSource: a Source that returns nothing or panics fails a scrape, and never the process.
func TestBadSource(t *testing.T) {
	for _, from := range []bad{{}, {panics: true}} {
		answer := httptest.NewRecorder()
		Handler(from).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if text := answer.Body.String(); answer.Code != http.StatusInternalServerError || !strings.Contains(text, "monitor: ") {
			t.Errorf("%+v: status %d: %s", from, answer.Code, text)
		}
	}
}
