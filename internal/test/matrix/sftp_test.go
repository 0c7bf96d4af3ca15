package matrix

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/sftpship"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestNetwork: faults of the network, for both destinations at the same time.
func TestNetwork(t *testing.T) {
	for name, fault := range map[string]func(r *rig){
		"reset": func(r *rig) {
			for _, after := range []int64{100, 5000, 300_000} {
				r.net.CutAfter(after)
				r.s3net.CutAfter(after)
				r.noise(1, 1<<20)
				r.delivered("idc")
				r.delivered("s3")
			}
		},
		// SSH finds it by its own checksum, the store by the object's.
		"bit flip": func(r *rig) {
			for _, after := range []int64{20_000, 400_000} {
				r.net.FlipAfter(after)
				r.s3net.FlipAfter(after)
				r.noise(1, 1<<20)
				r.delivered("idc")
				r.delivered("s3")
			}
		},
		"20 ms": func(r *rig) { r.far(20 * time.Millisecond) },
		"80 ms": func(r *rig) { r.far(80 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			r.torn = true
			r.text(2, 50)
			r.start(plain)
			r.delivered("idc")
			r.delivered("s3")
			fault(r)
			r.finish()
		})
	}
}

// far makes a round trip take so long.
func (r *rig) far(rtt time.Duration) {
	r.net.SetDelay(rtt / 2)
	r.s3net.SetDelay(rtt / 2)
	r.noise(2, 2<<20)
	r.delivered("idc")
	r.delivered("s3")
}

// TestSilence: the watchdog detects a peer that sends nothing any more although its connections stay open, and the other
// destination is not affected. Tests with a fake clock check how soon: TestConnLimits, TestWatch.
func TestSilence(t *testing.T) {
	for name, c := range map[string]struct{ stop, resume func(*rig) }{
		"sshd stopped":       {func(r *rig) { r.sshd.Pause() }, func(r *rig) { r.sshd.Resume() }},
		"black hole to sshd": {func(r *rig) { r.net.Dig() }, func(r *rig) { r.net.Fill() }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{sftp: sftpship.Options{StallTimeout: 3 * time.Second}})
			r.torn = true
			t.Cleanup(func() { c.resume(r) })
			r.text(2, 50)
			r.start()
			r.delivered("idc")
			c.stop(r)
			r.text(4, 50)
			r.noticed("idc", "sent and taken nothing", "did not finish in time")
			r.delivered("s3")
			r.honest()
			c.resume(r)
			r.finish()
		})
	}
	t.Run("black hole to s3", func(t *testing.T) {
		r := newRig(t, setup{})
		r.text(2, 50)
		r.start()
		r.delivered("s3")
		r.s3net.Dig()
		r.text(4, 50)
		r.noticed("s3", "nothing moved for")
		r.delivered("idc")
		r.honest()
		r.s3net.Fill()
		r.finish()
	})
}

// noticed waits until a destination has failed for one of the reasons that a watchdog gives.
func (r *rig) noticed(dest string, reasons ...string) {
	r.t.Helper()
	begin := time.Now()
	r.until("the silence to be noticed", func(s map[string]ship.DestinationStats) bool {
		return s[dest].State != ship.StateOK && slices.ContainsFunc(reasons, func(why string) bool {
			return strings.Contains(fmt.Sprint(s[dest].Err), why)
		})
	})
	r.t.Logf("noticed after %v", time.Since(begin))
}

// TestQuota: the datacenter's disk takes no more in mid-write (here a limit of the server's process, which answers as a
// quota does). The other destination has everything meanwhile; with the limit gone this one has too.
func TestQuota(t *testing.T) {
	const server = "/usr/lib/openssh/sftp-server"
	if _, err := os.Stat(server); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	script := filepath.Join(t.TempDir(), "server")
	limit := filepath.Join(t.TempDir(), "limit")
	write(t, script, "#!/bin/sh\ntrap '' XFSZ\nulimit -f $(cat '"+limit+"')\nexec "+server+"\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, limit, "512") // × 512 B, or 1 KiB
	r := newRig(t, setup{sshd: []string{"ForceCommand '" + script + "'"}})
	r.text(2, 50)
	r.noise(3, 2<<20)
	r.start(plain)
	r.state("idc", ship.StateRetrying)
	r.delivered("s3")
	if err := r.sh.Stats()["idc"].Err; !strings.Contains(err.Error(), "full disk or quota") {
		t.Errorf("the error does not say why: %v", err)
	}
	r.honest()
	write(t, limit, "unlimited")
	r.torn = true
	r.net.Reset() // the limit goes with the server's process
	r.finish()
}

// TestFullDisk: the server's disk is full, and the server says so when it is asked why a write failed. (That of an in-process
// server, which can be told what to say.)
func TestFullDisk(t *testing.T) {
	var full atomic.Bool
	r := newRig(t, setup{sftpDest: func(r *rig) ship.Destination {
		r.dirs["idc"] = t.TempDir()
		s, err := sftpd.Start(r.dirs["idc"], t.TempDir(), &sftpd.Options{Handlers: func(h sftp.Handlers) sftp.Handlers {
			h.FileCmd, h.FilePut = disk{h.FileCmd, &full}, fullFiles{h.FilePut, &full}
			return h
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		h, err := sftpship.Open(t.Context(), s.URL("/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}})
	r.text(2, 50)
	r.start()
	r.delivered("idc")
	full.Store(true)
	r.text(4, 50)
	r.state("idc", ship.StateRetrying)
	r.delivered("s3")
	if err := r.sh.Stats()["idc"].Err; !strings.Contains(err.Error(), "make room") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	r.honest()
	full.Store(false)
	r.finish()
}

// disk is a server's, full or not.
type disk struct {
	sftp.FileCmder
	full *atomic.Bool
}

func (d disk) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	free := uint64(1 << 20)
	if d.full.Load() {
		free = 10
	}
	return &sftp.StatVFS{Frsize: 4096, Blocks: 1 << 20, Bfree: free, Bavail: free}, nil
}

// fullFiles cannot be created while the disk is full.
type fullFiles struct {
	sftp.FileWriter
	full *atomic.Bool
}

func (f fullFiles) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	if f.full.Load() {
		return nil, sftp.ErrSSHFxFailure
	}
	return f.FileWriter.Filewrite(r)
}

func (d disk) PosixRename(r *sftp.Request) error {
	p, ok := d.FileCmder.(sftp.PosixRenameFileCmder)
	if !ok {
		return errors.ErrUnsupported
	}
	return p.PosixRename(r)
}

// TestHostKeyChanged: a different machine answers at the address. Nothing is sent to it, not even the user name; the log says
// what to compare. With the old key delivery continues.
func TestHostKeyChanged(t *testing.T) {
	r := newRig(t, setup{})
	r.text(2, 50)
	r.start()
	r.delivered("idc")
	r.sshd.Stop()
	key := filepath.Join(filepath.Dir(r.sshd.KeyFile), "host_key")
	old := read(t, key)
	if _, err := testserver.WriteKey(key); err != nil {
		t.Fatal(err)
	}
	r.sshd.Start()
	r.text(3, 50)
	r.state("idc", ship.StateParked)
	r.delivered("s3")
	r.honest()
	if err := r.sh.Stats()["idc"].Err; !strings.Contains(err.Error(), "known_hosts") {
		t.Errorf("the error does not say where to look: %v", err)
	}
	for _, tell := range []string{"Accepted", "publickey", "Failed", "authenticating"} {
		if log := r.sshd.Log(); strings.Contains(log, tell) {
			t.Errorf("the stranger was sent something:\n%s", log)
		}
	}
	r.sshd.Stop()
	if err := os.WriteFile(key, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	r.sshd.Start()
	r.finish()
}

// TestPlainServer: a server without OpenSSH's extensions gets the same objects; the receipts say what it lacks.
func TestPlainServer(t *testing.T) {
	r := newRig(t, setup{sshd: []string{"ForceCommand internal-sftp -P fsync,posix-rename,hardlink,statvfs,fstatvfs,limits,lsetstat"}})
	r.text(6, 50)
	r.start()
	r.delivered("idc")
	for m, err := range ship.ReadChain(t.Context(), r.disk("idc"), "vpn", r.sp.Stats().Spool, 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range m.Segments {
			if got := strings.Join(line.Receipt.Degraded, " "); got != "no-fsync no-hardlink" {
				t.Errorf("degraded %q", got)
			}
		}
	}
	r.finish()
}

// TestClockJumps: arrival times jump years ahead and back, as a clock does that is set. Keys may lie in odd folders; none
// is doubled or missing.
func TestClockJumps(t *testing.T) {
	r := newRig(t, setup{})
	r.start()
	now := time.Now()
	for _, jump := range []time.Duration{0, 400 * 24 * time.Hour, -400 * 24 * time.Hour, -time.Nanosecond, time.Hour, 0} {
		r.appendRecords([]segment.Record{
			{Time: now.Add(jump).UnixNano(), Data: []byte("before")},
			{Time: now.Add(-jump).UnixNano(), Data: []byte("after")},
			{Time: 0, Data: []byte("1970")},
		})
	}
	r.finish()
}

// TestDeadline: the process must end while objects are being uploaded. No multipart upload is left behind, and unconfirmed
// records stay pending; the next process delivers them.
func TestDeadline(t *testing.T) {
	r := newRig(t, setup{})
	r.noise(2, 7<<20)
	r.s3.SetPlan(first("UploadPart", 1000, s3d.Fault{Delay: time.Hour}))
	r.start(plain)
	r.until("parts to be on their way", func(map[string]ship.DestinationStats) bool { return r.s3.Seen("UploadPart") > 2 })
	r.stop()
	r.honest()
	if r.s3.Seen("Abort") == 0 {
		t.Error("no upload was aborted: the test is void")
	}
	for _, dir := range []string{"s3", "idc"} {
		if left := leftovers(t, r.dirs[dir]); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
	if p := r.sh.Stats()["s3"].Pending.Records; p == 0 {
		t.Error("nothing is owed: the test is void")
	}
	r.s3.SetPlan(nil)
	r.start(plain)
	r.finish()
}
