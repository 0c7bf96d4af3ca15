package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// with returns a command line with additional flags.
func with(args []string, more ...string) []string { return append(slices.Clone(args), more...) }

// TestCheck: mistakes are listed with their places, destinations are tested, and the exit code tells mistakes from unusable
// destinations. Nothing is left behind on this host.
func TestCheck(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	spools := filepath.Join(dir, "spool")
	base := []string{"-spool", spools, "-listen=vpn=udp://:5140"}
	good := with(base, "-dest=a=file://"+dir+"/a")
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"good":         {good, 0, []string{"a probe object was written", "will be created below", "everything can be used"}},
		"mistakes":     {with(good, "-codec=zip", "-limit=b=1MiB"), exitUsage, []string{"-codec: \"zip\": ", "-limit b: there is no -dest b", "a probe object was written", "mistakes: 2"}},
		"unusable":     {with(good, "-dest=b=file://"+blocked+"/b"), exitUnusable, []string{"FAILED   destination b", "a probe object was written", "the service would start"}},
		"offline":      {with(good, "-dest=b=file://"+blocked+"/b", "-offline"), 0, []string{"everything can be used"}},
		"twice":        {with(good, "-dest=b=file://"+dir+"/a"), exitUsage, []string{"is the same place as destination"}},
		"no directory": {with(good, "-spool="+blocked+"/x"), exitUsage, []string{"MISTAKE  spool"}},
		"help":         {[]string{"-h"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := check(c.args, &out, &errs); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the output lacks %q:\n%s", want, &out)
				}
			}
			if _, err := os.Stat(spools); err == nil {
				t.Error("the spool was made")
			}
		})
	}

	s, err := spool.Open(filepath.Join(spools, "vpn"), &spool.Options{Class: "vpn", Destinations: []string{"old"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := check(good, &out, &out); code != exitUsage || !strings.Contains(out.String(), `"old" is missing in Destinations`) {
		t.Errorf("beside a service with one destination more: exit code %d\n%s", code, &out)
	}
	out.Reset()
	if code := check(with(good, "-forget=old"), &out, &out); code != 0 || !strings.Contains(out.String(), "a new process could take it over") {
		t.Errorf("beside a service: exit code %d\n%s", code, &out)
	}
	out.Reset()
	if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := check(good, &out, &out); code != exitUsage || !strings.Contains(out.String(), "1 records are pending for destination old") {
		t.Errorf("records are pending for a destination that is left out: exit code %d\n%s", code, &out)
	}
	out.Reset()
	if code := check(with(good, "-forget=old"), &out, &out); code != 0 {
		t.Errorf("it is given up: exit code %d\n%s", code, &out)
	}
}
