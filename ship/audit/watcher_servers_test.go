package audit_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
)

// TestWatcherOnServers: a Watcher of a real S3 server, where it skips keys that it knows, and of OpenSSH's server agrees with full
// audits while a sender delivers to both, and when an object is gone.
func TestWatcherOnServers(t *testing.T) {
	s3 := testserver.StartS3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	to := map[string]ship.Destination{}
	var all []audit.Place
	for _, u := range []struct{ name, url string }{
		{"s3", fmt.Sprintf("s3://%s/watched?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, s3.Endpoint)},
		{"sftp", testserver.StartSSHD(t).URL("watched")},
	} {
		d, err := open.Destination(t.Context(), u.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := d.(io.Closer); ok {
			defer c.Close()
		}
		to[u.name] = d
		all = append(all, audit.Place{Name: u.name, Destination: d})
	}
	w, err := audit.NewWatcher(&audit.WatchOptions{Options: audit.Options{Places: all}})
	if err != nil {
		t.Fatal(err)
	}
	step := func(verdict audit.Verdict) {
		t.Helper()
		var s *audit.Status
		var full *audit.Result
		for hour := (time.Time{}); !hour.Equal(time.Now().Truncate(time.Hour)); { // both judge by the hour, which may end in between
			hour = time.Now().Truncate(time.Hour)
			var err error
			if s, err = w.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			if full, err = audit.Run(t.Context(), &audit.Options{Places: all}); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := essence(s.Result), essence(full); !reflect.DeepEqual(got, want) || full.Verdict != verdict {
			t.Errorf("%s, want %s\nthe Watcher says, and a full audit does not:\n%s\na full audit says, and the Watcher does not:\n%s", full.Verdict, verdict,
				strings.Join(without(got, want), "\n"), strings.Join(without(want, got), "\n"))
		}
		t.Logf("%s: %d and %d requests", full.Verdict, s.Places[0].Requests, s.Places[1].Requests)
		audit.JumpSooner(w)
	}
	dir := filepath.Join(t.TempDir(), "spool")
	for range 2 {
		x := send(t, dir, "vpn", "host-a", to, nil)
		for range 4 {
			x.segments(2)
			x.flush()
			step(audit.Owed)
		}
		x.end()
	}
	gone, err := filepath.Glob(filepath.Join(s3.Dir, testserver.Bucket, "watched", "class=vpn", "*", "*", "*"))
	if err != nil || len(gone) != 16 {
		t.Fatalf("%d objects, %v", len(gone), err)
	}
	if err := os.Remove(gone[3]); err != nil {
		t.Fatal(err)
	}
	step(audit.Damaged)
	step(audit.Damaged)
}
