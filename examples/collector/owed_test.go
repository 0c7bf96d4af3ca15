package main

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/drain"
)

// TestAdoptionsHideSecrets: anyone who can reach the port sees why a volume waits, but no credential.
func TestAdoptionsHideSecrets(t *testing.T) {
	nowhere(t)
	c, err := parse(t, "-adopt="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := newAdoptions(c, slog.New(slog.DiscardHandler))
	a.roots["/orphans"] = unread{why: "mount cifs://ops:hunter2@nas/x: password=hunter2: refused"}
	a.seen["/orphans/vol"] = &orphan{Dir: "/orphans/vol", State: "waiting", Err: "put https://ops:hunter2@store/x?X-Amz-Signature=hunter2: refused"}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest("GET", "/adoptions", nil))
	if body := w.Body.String(); strings.Contains(body, "hunter2") || strings.Count(body, "refused") != 2 {
		t.Error(body)
	}
}

// TestUnreadableEnds: a spool that could not be read at times is listed once, and no drain waits for it after it was delivered, or its
// volume is gone.
func TestUnreadableEnds(t *testing.T) {
	nowhere(t)
	c, err := parse(t, "-adopt="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/orphans/vol"
	for how, end := range map[string]func(*adoptions, *orphan){
		"gone":      func(a *adoptions, o *orphan) { a.gone(o) },
		"delivered": func(a *adoptions, o *orphan) { a.noteAttempt(o, &drain.Report{}, nil, true, 0) },
	} {
		a, o := newAdoptions(c, slog.New(slog.DiscardHandler)), &orphan{Dir: dir, State: "delivering"}
		a.looked = true
		a.seen[dir], a.roots[dir] = o, unread{why: "input/output error"}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest("GET", "/adoptions", nil))
		if body := w.Body.String(); strings.Count(body, dir) != 1 || strings.Contains(body, "unreadable") {
			t.Errorf("%s: shown: %s", how, body)
		}
		if owed := a.Pending(); len(owed) != 1 {
			t.Errorf("%s: before it: %+v", how, owed)
		}
		if end(a, o); len(a.Pending()) != 0 {
			t.Errorf("%s: after it: %+v", how, a.Pending())
		}
	}
}
