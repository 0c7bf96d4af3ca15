package open

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestDestination: the scheme alone chooses the driver, and the error for an unknown scheme lists all forms.
func TestDestination(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(hosts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("X", "secret")
	for url, location := range map[string]string{
		"file://" + filepath.ToSlash(t.TempDir()):                                  "file:",
		"s3://bucket/prefix?region=eu-central-1":                                   "s3://bucket/prefix",
		"sftp://ingest@idc.example/srv/ingest?password_env=X&known_hosts=" + hosts: "sftp://ingest@idc.example",
	} {
		d, err := Destination(t.Context(), url, nil)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if l := d.(ship.Locator).Location(); !strings.HasPrefix(l, location) {
			t.Errorf("%s was opened as %s", url, l)
		}
		if c, ok := d.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, url := range []string{"", "/srv/ingest", "ftp://idc/srv", "S3"} {
		d, err := Destination(t.Context(), url, nil)
		if err == nil || d != nil {
			t.Fatalf("%q was opened as %v", url, d)
		}
		for _, driver := range drivers {
			if !strings.Contains(err.Error(), driver.form) {
				t.Errorf("%v does not name %s", err, driver.form)
			}
		}
	}
	if d, err := Destination(t.Context(), "file:///x?unknown=1", nil); err == nil || d != nil {
		t.Errorf("%v, %v: a driver's nil pointer must not become a destination", d, err)
	}
}

// TestRecordsNeedsList: a destination that cannot be listed is refused, not treated as empty.
func TestRecordsNeedsList(t *testing.T) {
	err := Records(t.Context(), struct{ ship.Destination }{}, nil, nil)
	if err == nil || errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestPasswordHidden: no message repeats a password that is in a URL by mistake.
func TestPasswordHidden(t *testing.T) {
	for _, u := range []string{"sftp://u:hunter2@h/d", "s3://u:hunter2@bucket", "s3://u:hunter2/p", "sftp://h:hunter2/d", "sftp://u@h/d#hunter2", "file:u:hunter2@h", "ftp://u:hunter2@h/d", "file://u:hunter2@/x", "sftp://u:hunter2@h:x/d", "sftp://u@h/d?password=hunter2", "s3://b?secret_access_key=hunter2", "file:///d?password=hunter2", "file://u:hunter2@h x/"} {
		if _, err := Destination(t.Context(), u, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

// TestRecordsStops: no reader calls the function after it has returned an error.
func TestRecordsStops(t *testing.T) {
	mem := shiptest.Memory()
	for i := range 64 {
		var b strings.Builder
		for seq := range 100 {
			fmt.Fprintf(&b, `{"seq":%d,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"x","spool":"abcdefghijklmnopqrstuvwxyz"}`+"\n", 100*i+seq+1)
		}
		mem.Set(fmt.Sprintf("class=vpn/dt=2026-11-22/hour=08/%d.ndjson", i), []byte(b.String()))
	}
	enough, calls := errors.New("enough"), 0
	err := Records(t.Context(), mem, nil, func(uint64, segment.Record) error {
		if calls++; calls < 200 {
			return nil
		}
		for range 10_000 { // give the other readers time to wait
			runtime.Gosched()
		}
		return enough
	})
	if !errors.Is(err, enough) || calls != 200 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
