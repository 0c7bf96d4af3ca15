//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestWholeWay: rsyslog and loadgen into the collector, two classes, OpenSSH and a real S3 server; drained, every record
// is at both, once, as it was sent, and the report's balance says the same.
func TestWholeWay(t *testing.T) {
	s := startServers(t)
	udp, tcp, octet := testserver.FreeAddr(t), testserver.FreeAddr(t), testserver.FreeAddr(t)
	c := startCollector(t, t.TempDir(), s.env,
		"-listen", "vpn=udp://"+udp, "-listen", "vpn=tcp://"+tcp, "-listen", "web=tcp://"+octet+"?framing=octet",
		"-dest", "idc="+s.sftp, "-dest", "s3="+s.s3, "-on-term", "drain", "-segment-bytes", "4MiB", "-segment-age", "2s",
		"-codec", "web=gzip").ready()

	const relayed = 20_000
	relay := startRsyslog(t, relayed, []string{"udp " + udp, "tcp " + tcp, "octet " + octet})
	sent := map[string]uint64{}
	for run, to := range map[string]string{
		"direct-udp": "udp://" + udp, "direct-tcp": "tcp://" + tcp, "direct-octet": "tcp://" + octet + "?framing=octet",
	} {
		sent[run] = loadgenSend(t, "-to", to, "-rate", "30000", "-count", "40000", "-size", "400", "-run", run).Sent
	}
	for run, n := range relay.finish(c) {
		sent[run] = n
	}

	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	r := c.report()
	if r.Outcome != "delivered" {
		t.Errorf("outcome %q", r.Outcome)
	}
	total := uint64(0)
	for run, n := range sent {
		loadgenCheck(t, s.env, run, n, s.s3, s.sftp)
		total += n
	}
	received := uint64(0)
	for name, class := range r.Classes {
		received += class.Received.Records
		if class.Received != class.Kept {
			t.Errorf("class %s: received %+v, kept %+v", name, class.Received, class.Kept)
		}
		for dest, d := range class.Destinations {
			if d.Delivered != class.Kept || d.Pending.Records != 0 {
				t.Errorf("class %s at %s: %+v of %+v", name, dest, d, class.Kept)
			}
		}
	}
	if received != total {
		t.Errorf("sent %d records, the report has %d", total, received)
	}
}

// relay is rsyslog, reading a file for each target and forwarding it there.
type relay struct {
	t     *testing.T
	cmd   *exec.Cmd
	stats string
	runs  map[string]uint64
}

func startRsyslog(t *testing.T, lines int, targets []string) *relay {
	t.Helper()
	rsyslogd := testserver.Find(t, "rsyslogd", "rsyslog")
	dir := testserver.PlainDir(t) // rsyslog refuses white space
	r := &relay{t: t, stats: filepath.Join(dir, "stats"), runs: map[string]uint64{}}
	var conf strings.Builder
	fmt.Fprintf(&conf, `
global(workDirectory=%q)
module(load="imfile")
module(load="impstats" interval="1" format="json" log.syslog="off" log.file=%q)
template(name="raw" type="string" string="%%msg%%")
template(name="rawline" type="string" string="%%msg%%\n")
`, dir, r.stats)
	for _, target := range targets {
		kind, addr, _ := strings.Cut(target, " ")
		run := "relay-" + kind
		input := filepath.Join(dir, run+".log")
		writeLines(t, input, run, lines)
		host, port, _ := strings.Cut(addr, ":")
		options := map[string]string{
			"udp":   `protocol="udp" template="raw"`,
			"tcp":   `protocol="tcp" template="raw" TCP_Framing="traditional"`,
			"octet": `protocol="tcp" template="raw" TCP_Framing="octet-counted"`,
		}[kind]
		fmt.Fprintf(&conf, `
ruleset(name=%q) { action(name=%q type="omfwd" target=%q port=%q %s queue.type="LinkedList" queue.size="100000"
  queue.timeoutshutdown="10000" action.resumeRetryCount="-1") }
input(type="imfile" File=%q Tag="t" Ruleset=%q)
`, run, run, host, port, options, input, run)
		r.runs[run] = uint64(lines)
	}
	path := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(path, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(rsyslogd, "-n", "-f", path, "-i", filepath.Join(dir, "pid"))
	var stderr testserver.Log
	r.cmd.Stderr = &stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("rsyslogd: %s", stderr.String())
		}
	})
	return r
}

// finish waits until rsyslog has forwarded every line, and ends it.
func (r *relay) finish(c *collector) map[string]uint64 {
	r.t.Helper()
	c.until("rsyslog to forward everything", time.Minute, func() bool {
		b, _ := os.ReadFile(r.stats)
		for run, n := range r.runs {
			if !strings.Contains(string(b), fmt.Sprintf(`"name": "%s", "origin": "core.action", "processed": %d,`, run, n)) {
				return false
			}
		}
		return true
	})
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	_ = r.cmd.Wait()
	return r.runs
}

func writeLines(t *testing.T, path, run string, n int) {
	t.Helper()
	g, err := fwlog.NewGenerator(run, 1)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for seq := range n {
		b = append(g.Append(b, 0, uint64(seq), 300), '\n')
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
