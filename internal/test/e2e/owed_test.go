//go:build linux

package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestDrainOwesAdoption: if a collector holds the volume of another instance and cannot deliver it, its drain is not complete,
// and the report and /adoptions say what is pending and why. If it can deliver the volume, it does so before it ends.
func TestDrainOwesAdoption(t *testing.T) {
	dir, mounts := t.TempDir(), t.TempDir()
	volume := filepath.Join(mounts, "vol-1", "vpn")
	sp, err := spool.Open(volume, &spool.Options{Class: "vpn", Destinations: []string{"idc", "old"}, MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for range 7 {
		if _, err := sp.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("only here")}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-listen", "web=tcp://" + testserver.FreeAddr(t), "-dest", "idc=file://" + filepath.Join(dir, "idc"),
		"-adopt", mounts, "-adopt-max-bytes", "512MiB", "-on-term", "drain", "-drain-timeout", "5s", "-spool-max-bytes", "1GiB",
	}
	c := startCollector(t, filepath.Join(dir, "spool"), nil, args...).ready()
	var at []struct {
		Dir, State, Class, Error string
		Pending                  map[string]segment.Tally
	}
	c.until("/adoptions to say why", 20*time.Second, func() bool {
		resp, err := http.Get("http://" + c.http + "/adoptions")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(&at) == nil && len(at) == 1 && strings.Contains(at[0].Error, `"old" is owed 7 records`)
	})
	if at[0].Dir != volume || at[0].Class != "vpn" || at[0].Pending["old"].Records != 7 || at[0].Pending["idc"].Records != 7 {
		t.Errorf("/adoptions: %+v", at)
	}
	if code := c.end(syscall.SIGTERM, 30*time.Second); code != 4 {
		t.Errorf("exit code %d of a drain that owes an adopted volume", code)
	}
	if r := c.report(); len(r.Adoptions) != 1 || r.Adoptions[0].Dir != volume || r.Adoptions[0].Pending["old"].Records != 7 || !strings.Contains(r.Adoptions[0].Why, "old") {
		t.Errorf("the report has %+v", r.Adoptions)
	}

	c = startCollector(t, filepath.Join(dir, "spool"), nil, append(args, "-dest", "old=file://"+filepath.Join(dir, "old"), "-drain-timeout", "60s")...).ready()
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d of a drain that can deliver the volume", code)
	}
	if in, err := spool.Inspect(volume); err != nil || in.Adopted.IsZero() {
		t.Errorf("after the drain: %+v, %v", in, err)
	}
}
