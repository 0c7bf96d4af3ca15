//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool/segment"
)

// sender is a program that people send logs with, set up in one way.
type sender struct {
	run    string
	listen string // URL of the listener, %s for the address
	// Of a relay: the part of its configuration that reads %[1]s and sends it to host %[2]s, port %[3]s.
	rsyslog, syslogng string
	// Of any other: starts it.
	start func(c *collector, input, host, port string)
}

func senders(dir string) []sender {
	secure := fmt.Sprintf("?cert=%[1]s/server.pem&key=%[1]s/server.key&client_ca=%[1]s/server.pem", dir)
	netstream := func(driver string) string {
		return fmt.Sprintf(`type="omfwd" target="%%[2]s" port="%%[3]s" protocol="tcp" template="raw" TCP_Framing="octet-counted"
			StreamDriver=%q StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"`, driver)
	}
	return []sender{
		{run: "rsyslog-udp", listen: "udp://%s", rsyslog: `type="omfwd" target="%[2]s" port="%[3]s" protocol="udp" template="raw"`},
		{run: "rsyslog-tcp", listen: "tcp://%s?framing=newline", rsyslog: `type="omfwd" target="%[2]s" port="%[3]s" protocol="tcp" template="raw" TCP_Framing="traditional"`},
		{run: "rsyslog-octet", listen: "tcp://%s?framing=octet", rsyslog: `type="omfwd" target="%[2]s" port="%[3]s" protocol="tcp" template="raw" TCP_Framing="octet-counted"`},
		{run: "rsyslog-gtls", listen: "tls://%s" + secure, rsyslog: netstream("gtls")},
		{run: "rsyslog-ossl", listen: "tls://%s" + secure, rsyslog: netstream("ossl")},
		{run: "rsyslog-relp", listen: "relp://%s", rsyslog: `type="omrelp" target="%[2]s" port="%[3]s" template="raw"`},
		{run: "rsyslog-relps", listen: "relps://%s" + secure, rsyslog: fmt.Sprintf(`type="omrelp" target="%%[2]s" port="%%[3]s" template="raw" tls="on"
			tls.caCert="%[1]s/server.pem" tls.myCert="%[1]s/server.pem" tls.myPrivKey="%[1]s/server.key" tls.authMode="name" tls.permittedPeer="localhost"`, dir)},
		{run: "syslogng-udp", listen: "udp://%s", syslogng: `network("%[2]s" port(%[3]s) transport("udp") template("$MSG"))`},
		{run: "syslogng-tcp", listen: "tcp://%s", syslogng: `network("%[2]s" port(%[3]s) transport("tcp") template("$MSG\n"))`},
		{run: "syslogng-tls", listen: "tls://%s" + secure, syslogng: fmt.Sprintf(`network("%%[2]s" port(%%[3]s) transport("tls") template("$MSG\n")
			tls(ca-file("%[1]s/server.pem") cert-file("%[1]s/server.pem") key-file("%[1]s/server.key")))`, dir)},
		{run: "logger-udp", listen: "udp://%s", start: logger("--udp")},
		{run: "logger-octet", listen: "tcp://%s?framing=auto", start: logger("--tcp", "--octet-count")},
		{run: "nginx-proxy", listen: "tcp://%s?proxy=on&trust=127.0.0.1", start: nginx},
	}
}

// TestClients: common clients each send to their own class. Every line arrives once, unchanged, and with the address of its
// sender.
func TestClients(t *testing.T) {
	const lines = 2000
	dir := testserver.PlainDir(t)
	testserver.WriteCert(t, dir, "server")
	out := "file://" + filepath.Join(dir, "out")
	args := []string{"-dest", "out=" + out, "-on-term", "drain", "-segment-age", "300ms", "-segment-bytes", "4MiB"}
	all := senders(dir)
	addrs := map[string]string{}
	for _, s := range all {
		addr := testserver.FreeAddr(t)
		addrs[s.run] = addr
		args = append(args, "-listen", strings.ReplaceAll(s.run, "-", "_")+"="+fmt.Sprintf(s.listen, addr))
	}
	c := startCollector(t, filepath.Join(dir, "spool"), nil, args...).ready()

	var rsyslog, syslogng []string
	for _, s := range all {
		input := filepath.Join(dir, s.run+".log")
		writeLines(t, input, s.run, lines)
		host, port, _ := net.SplitHostPort(addrs[s.run])
		switch {
		case s.rsyslog != "":
			rsyslog = append(rsyslog, rsyslogAction(s.run, input, fmt.Sprintf(s.rsyslog, input, host, port)))
		case s.syslogng != "":
			syslogng = append(syslogng, fmt.Sprintf(`log { source { file(%q flags(no-parse) follow-freq(1)); }; destination { `+s.syslogng+`; }; };`+"\n", input, host, port))
		default:
			s.start(c, input, host, port)
		}
	}
	runRsyslog(t, dir, rsyslog)
	runSyslogNG(t, dir, syslogng)

	missing := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("last missing: " + missing)
		}
	})
	c.until("every line to be delivered", time.Minute, func() bool {
		missing = ""
		for _, s := range all {
			if tally := arrived(t, out, s.run, lines, nil); tally.Missing() > 0 {
				missing += fmt.Sprintf(" %s %d", s.run, tally.Missing())
			}
		}
		return missing == ""
	})
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, s := range all {
		loadgenCheck(t, nil, s.run, lines, out)
		src := netip.MustParsePrefix("127.0.0.1/32")
		if s.run == "nginx-proxy" {
			src = netip.PrefixFrom(behindProxy, 32)
		}
		arrived(t, out, s.run, lines, func(r segment.Record) {
			if !src.Contains(r.Src.Addr()) || r.Src.Port() == 0 {
				t.Fatalf("%s: a record from %v", s.run, r.Src)
			}
		})
	}
}

// arrived counts the lines of a run at a destination.
func arrived(t *testing.T, at, run string, lines uint64, each func(segment.Record)) *fwlog.Tally {
	t.Helper()
	d, err := open.Destination(t.Context(), at, nil)
	if err != nil {
		t.Fatal(err)
	}
	tally := fwlog.NewTally(run, lines)
	err = open.Records(context.Background(), d, &open.RecordsOptions{Class: strings.ReplaceAll(run, "-", "_")}, func(_ uint64, r segment.Record) error {
		tally.Add(r.Data)
		if each != nil {
			each(r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

// run starts a program that ends with the test.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var output testserver.Log
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(cmd.Path), tail(output.String(), 30))
		}
	})
}

// rsyslogAction reads a file and hands it to an action.
func rsyslogAction(name, input, action string) string {
	return fmt.Sprintf(`
ruleset(name=%[1]q) { action(name=%[1]q %[3]s queue.type="LinkedList" queue.size="100000" queue.timeoutshutdown="10000"
  action.resumeRetryCount="-1" action.resumeInterval="1") }
input(type="imfile" File=%[2]q Tag="t" Ruleset=%[1]q)
`, name, input, action)
}

func runRsyslog(t *testing.T, dir string, actions []string) {
	t.Helper()
	conf := fmt.Sprintf(`
global(workDirectory=%[1]q DefaultNetstreamDriverCAFile="%[1]s/server.pem" DefaultNetstreamDriverCertFile="%[1]s/server.pem"
  DefaultNetstreamDriverKeyFile="%[1]s/server.key")
module(load="imfile")
module(load="omrelp")
template(name="raw" type="string" string="%%msg%%")
`, dir) + strings.Join(actions, "")
	path := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	rsyslogd := testserver.Find(t, "rsyslogd", "rsyslog, rsyslog-relp, rsyslog-gnutls and rsyslog-openssl")
	run(t, exec.Command(rsyslogd, "-n", "-f", path, "-i", filepath.Join(dir, "rsyslog.pid")))
}

func runSyslogNG(t *testing.T, dir string, logs []string) {
	t.Helper()
	path := filepath.Join(dir, "syslog-ng.conf")
	conf := "@version: 3.35\noptions { stats-freq(0); };\n" + strings.Join(logs, "")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	// The package conflicts with rsyslog's: .ci/run unpacks it beside.
	syslogng := testserver.Find(t, "syslog-ng", "syslog-ng-core, as .ci/run does beside rsyslog")
	run(t, exec.Command(syslogng, "-F", "--stderr", "--no-caps", "-f", path, "-R", filepath.Join(dir, "persist"),
		"-c", filepath.Join(dir, "ctl"), "-p", filepath.Join(dir, "syslog-ng.pid")))
}

// logger is util-linux's. It puts a header of its own before each line.
func logger(options ...string) func(*collector, string, string, string) {
	return func(c *collector, input, host, port string) {
		path := testserver.Find(c.t, "logger", "bsdutils")
		run(c.t, exec.Command(path, slices.Concat(options, []string{"--server", host, "--port", port, "--file", input})...))
	}
}

// behindProxy is where the client of nginx connects from, unlike nginx itself.
var behindProxy = netip.MustParseAddr("127.0.0.2")

// nginx passes one connection on, with a PROXY header.
func nginx(c *collector, input, host, port string) {
	t := c.t
	dir := t.TempDir()
	addr := testserver.FreeAddr(t)
	conf := fmt.Sprintf(`daemon off; master_process off; pid "%[1]s/pid"; error_log stderr;
include /usr/share/nginx/modules-available/mod-stream.conf;
events {}
stream { server { listen %[2]s; proxy_pass %[3]s; proxy_protocol on; } }
`, dir, addr, net.JoinHostPort(host, port))
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command(testserver.Find(t, "nginx", "nginx and libnginx-mod-stream"), "-e", "stderr", "-c", path))
	lines, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	from := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(behindProxy, 0))}
	var client net.Conn
	c.until("nginx to listen", 20*time.Second, func() bool {
		client, err = from.Dial("tcp", addr)
		return err == nil
	})
	defer client.Close()
	if _, err := client.Write(lines); err != nil {
		t.Fatal(err)
	}
}
