//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool"
)

var adoptKills = flag.Int("adopt.kills", 4, "how often an adopter is killed before it is let alone")

// audited runs the audit over both destinations, wants it to find everything complete, and returns the records of a spool.
func audited(t *testing.T, s *servers, id string) uint64 {
	t.Helper()
	cmd := exec.Command(binary(t, "audit"), "-deep", "-json", "-at", s.s3, "-at", s.sftp)
	cmd.Env = append(os.Environ(), s.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("audit: %v\n%s\n%s", err, out, stderr.String())
	}
	var r audit.Result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	var records []uint64
	for _, c := range r.Chains {
		if c.Spool == id {
			if !c.Final {
				t.Errorf("%s: %+v", c.Place, c)
			}
			records = append(records, c.Records)
		}
	}
	if len(records) != 2 || records[0] != records[1] {
		t.Fatalf("spool %s: %v records at the two", id, records)
	}
	return records[0]
}

// adoption asks a collector how far it is with the one volume that it adopts.
func (c *collector) adoption() (state string) {
	resp, err := http.Get("http://" + c.http + "/adoptions")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var all []struct{ State, Phase, Error string }
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil || len(all) != 1 {
		return fmt.Sprint(all, err)
	}
	return all[0].State
}

// TestAdopt: a collector is killed under load while one destination is dead. Another one, which is killed itself again and
// again, adopts its volume beside normal service: everything is at both destinations once, and the chains say that it is
// all.
func TestAdopt(t *testing.T) {
	s := startServers(t)
	s.ssh.Stop()
	mounts := t.TempDir()
	volume := filepath.Join(mounts, "vol-1", "penstock")
	dests := []string{"-dest", "idc=" + s.sftp, "-dest", "s3=" + s.s3, "-segment-bytes", "1MiB", "-segment-age", "1s"}
	addr := testserver.FreeAddr(t)
	c := startCollector(t, volume, s.env, append(dests, "-listen", "vpn=tcp://"+addr)...).ready()
	before := loadgenSend(t, "-to", "tcp://"+addr, "-count", "50000", "-size", "300", "-run", "before")
	c.until("the first run at S3", time.Minute, func() bool {
		cmd := exec.Command(binary(t, "loadgen"), "check", "-run", "before", "-sent", fmt.Sprint(before.Sent), "-at", s.s3)
		cmd.Env = append(os.Environ(), s.env...)
		return cmd.Run() == nil
	})
	load := exec.Command(binary(t, "loadgen"), "send", "-to", "tcp://"+addr, "-rate", "40000", "-count", "400000", "-size", "300", "-run", "load")
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.NewTimer(time.Second + time.Duration(rand.IntN(1000))*time.Millisecond)
	<-kill.C
	if code := c.end(syscall.SIGKILL, 20*time.Second); code != -1 {
		t.Fatalf("exit code %d", code)
	}
	_ = load.Wait() // its connection is gone

	in, err := spool.Inspect(filepath.Join(volume, "vpn"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the volume has %d records in %d segments; owed %+v", in.Records, len(in.Segments), in.Destinations)
	if in.Clean || in.Holder == "" || in.Destinations["idc"].Pending.Records < before.Sent {
		t.Errorf("%+v", in)
	}

	// The adopter begins while the destination is still dead, serves, and is killed.
	dir, addr := t.TempDir(), testserver.FreeAddr(t)
	args := append(dests, "-listen", "web=tcp://"+addr, "-adopt", mounts, "-on-term", "drain")
	for i := range *adoptKills {
		c = startCollector(t, dir, s.env, args...).ready()
		if i == 0 {
			c.until("the adoption to begin", 20*time.Second, func() bool { return c.adoption() == "delivering" })
			s.ssh.Start()
		}
		own := loadgenSend(t, "-to", "tcp://"+addr, "-count", "2000", "-size", "300", "-run", fmt.Sprint("own", i))
		if own.Sent != 2000 {
			t.Errorf("sent %d", own.Sent)
		}
		kill := time.NewTimer(time.Duration(rand.IntN(1500)) * time.Millisecond)
		<-kill.C
		c.end(syscall.SIGKILL, 20*time.Second)
	}
	c = startCollector(t, dir, s.env, args...).ready()
	c.until("the adoption", 2*time.Minute, func() bool { return c.adoption() == "delivered" })
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if n := audited(t, s, in.Spool); n != in.Destinations["idc"].Pending.Records {
		t.Errorf("%d records are delivered, the volume had %d", n, in.Destinations["idc"].Pending.Records)
	}
	loadgenCheck(t, s.env, "before", before.Sent, s.s3, s.sftp)
	if again, err := spool.Inspect(filepath.Join(volume, "vpn")); err != nil || again.Adopted.IsZero() {
		t.Errorf("after the adoption: %+v, %v", again, err)
	}
}
