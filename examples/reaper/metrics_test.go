package main

import (
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scraped returns the metrics as a scraper receives them.
func scraped(t *testing.T, a *account) string {
	t.Helper()
	w := httptest.NewRecorder()
	handler(a).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMetrics: the metrics show which volumes are kept, why and for how long, failures, and the last success.
func TestMetrics(t *testing.T) {
	d := newDesk(t)
	a := newAccount(func() time.Time { return d.clock }, true)
	a.watch(d.Reaper)
	has := func(what string, lines ...string) {
		t.Helper()
		text := scraped(t, a)
		for _, l := range lines {
			if !strings.Contains(text, "\npenstock_reaper_"+l+"\n") {
				t.Errorf("%s: no line %s", what, l)
			}
		}
	}
	pass := func() error {
		err := d.Pass(t.Context())
		a.passed(err)
		d.clock = d.clock.Add(time.Minute)
		return err
	}
	if text := scraped(t, a); strings.Contains(text, "kept_volumes{") || strings.Contains(text, "oldest") {
		t.Errorf("nothing is known yet:\n%s", text)
	}
	d.launch("vol-1", "i-1") // its own
	d.launch("vol-2", "i-2") // another's
	d.old("vol-3")
	d.disks["vol-3"] = Content{Signature: "a partition table of type gpt"}
	d.launch("vol-4", "") // new: an instance is about to attach it
	if err := pass(); err != nil {
		t.Fatal(err)
	}
	has("one is found", `orphaned_volumes{state="found"} 1`, `orphaned_volumes{state="kept"} 0`, `oldest_volume_seconds 60`, `success_age_seconds 60`, `info{apply="true"} 1`)
	for range 4 {
		if err := pass(); err != nil {
			t.Fatal(err)
		}
	}
	has("it is kept", `orphaned_volumes{state="kept"} 1`, `kept_volumes{reason="signature"} 1`, `kept_volumes{reason="audit"} 0`, `oldest_volume_seconds 300`)

	// A reaper that has just started finds the time in the tag.
	later := newAccount(func() time.Time { return d.clock }, false)
	all, err := d.Lister.Volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	later.see(all)
	if text := scraped(t, later); !strings.Contains(text, "\npenstock_reaper_oldest_volume_seconds 300\n") {
		t.Errorf("the age is forgotten:\n%s", text)
	}

	d.volumes["vol-3"].Tags[tagReason] = "being looked at"
	if _, err := d.Lister.Volumes(t.Context()); err != nil { // the account sees it
		t.Fatal(err)
	}
	has("an operator's note", `kept_volumes{reason="other"} 1`, `kept_volumes{reason="signature"} 0`)
	d.faulty = func() fault { return throttled }
	d.clock = d.clock.Add(time.Hour)
	if err := pass(); err == nil {
		t.Fatal("EC2 answers nothing, and the pass is well")
	}
	has("EC2 is away", `failures_total{action="list"} 1`, `success_age_seconds 3720`, `kept_volumes{reason="other"} 1`)
	d.faulty = func() fault { return works }
	d.adoption, d.proof = Adoption{State: "delivered"}, Proof{Complete: true}
	d.disks["vol-4"], d.files = Content{FileSystem: "ext4"}, withSpool(t)
	for range 4 {
		if err := pass(); err != nil {
			t.Fatal(err)
		}
	}
	has("the new one is deleted", `deleted_volumes_total 1`, `success_age_seconds 60`)

	for _, answer := range []error{nil, ErrTaken, ErrGone, ErrDevice, ErrFull} {
		a.did("attach", answer)
	}
	a.did("unmount", &mountRefused{syscall.EBUSY})
	has("an answer is no failure", `failures_total{action="attach"} 0`, `failures_total{action="unmount"} 1`, `failures_total{action="audit"} 0`)
}

type mountRefused struct{ error }

// TestReasons: every note that keeps a volume has one of the reasons, and fits into a tag.
func TestReasons(t *testing.T) {
	long := errors.New(strings.Repeat("x", 300))
	for _, r := range reasons {
		v := Volume{Tags: map[string]string{tagReason: note(time.Unix(0, 0), "i-1", r+": because of: "+long.Error())}}
		if v.reason() != r || len(v.Tags[tagReason]) > 255 {
			t.Errorf("%s: %s", r, v.reason())
		}
	}
	for _, text := range []string{"", "of an operator", "2030-01-01T00:00:00Z i-1: no reason of these: x"} {
		if v := (Volume{Tags: map[string]string{tagReason: text}}); v.reason() != otherReason {
			t.Errorf("%q: %s", text, v.reason())
		}
	}
}

// TestHTTP serves the metrics, and ends.
func TestHTTP(t *testing.T) {
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"-fleet", "f", "-at", "file:///x", "-http", "here"}, nil, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "HOST:PORT") {
		t.Errorf("%d %s", code, errs.String())
	}
	d := newDesk(t)
	a := newAccount(func() time.Time { return d.clock }, true)
	stop, err := listenHTTP("127.0.0.1:0", a, d.Log)
	if err != nil {
		t.Fatal(err)
	}
	stop()
}
