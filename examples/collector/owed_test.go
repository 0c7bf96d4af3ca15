package main

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
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
