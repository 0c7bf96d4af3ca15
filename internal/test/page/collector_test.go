//go:build linux

package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// collector is a running collector with a class of datagrams and one of streams, and two destinations in directories.
type collector struct {
	t               *testing.T
	dir             string
	cmd             *exec.Cmd
	page            string // URL
	udp, tcp, octet string // addresses
	exited          chan error

	mu  sync.Mutex
	log strings.Builder
}

var (
	pageLine   = regexp.MustCompile(`msg="status page" url=(\S+)`)
	listenLine = regexp.MustCompile(`msg="ingest: listening" class=(\S+) .*addr=(\S+)`)
)

// quota is small, so that a test fills the spool in a moment.
const quota = 32 << 20

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t, dir: t.TempDir(), exited: make(chan error, 1)}
	bin := filepath.Join(c.dir, "collector")
	build := exec.Command("go", "build", "-o", bin, "./examples/collector")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, dest := range []string{"idc", "archive"} {
		if err := os.Mkdir(filepath.Join(c.dir, dest), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.cmd = exec.Command(bin, "-spool", filepath.Join(c.dir, "spool"), "-http", "127.0.0.1:0", "-lifecycle", "none", "-on-term", "drain",
		"-listen", "vpn=udp://127.0.0.1:0?rcvbuf=64KiB&max=1KiB", "-listen", "web=tcp://127.0.0.1:0?framing=newline&max=4KiB",
		"-listen", "feed=tcp://127.0.0.1:0?framing=octet",
		"-dest", "idc=file://"+filepath.Join(c.dir, "idc"), "-dest", "archive=file://"+filepath.Join(c.dir, "archive"),
		"-segment-age", "1s", "-segment-bytes", "1MiB", "-spool-max-bytes", fmt.Sprint(quota), "-codec", "none", "-drain-timeout", "2m")
	out, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	go c.read(out, up)
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it has ended already if all went well
		<-c.exited
		if t.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Log(c.log.String())
		}
	})
	select {
	case <-up:
	case <-time.After(30 * time.Second):
		t.Fatal("the collector does not start")
	}
	return c
}

// read collects the log until the process ends. It closes up when every address is known.
func (c *collector) read(out io.Reader, up chan struct{}) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		c.mu.Lock()
		fmt.Fprintln(&c.log, line)
		c.mu.Unlock()
		if m := pageLine.FindStringSubmatch(line); m != nil {
			c.page = m[1]
		}
		if m := listenLine.FindStringSubmatch(line); m != nil {
			switch m[1] {
			case "vpn":
				c.udp = m[2]
			case "web":
				c.tcp = m[2]
			case "feed":
				c.octet = m[2]
			}
		}
		if up != nil && c.page != "" && c.udp != "" && c.tcp != "" && c.octet != "" {
			close(up)
			up = nil
		}
	}
	c.exited <- c.cmd.Wait()
	close(c.exited)
}

// send sends so many lines to the class of streams.
func (c *collector) send(lines, length int) {
	c.t.Helper()
	conn := dial(c.t, "tcp", c.tcp)
	defer conn.Close()
	line := []byte(strings.Repeat("x", length) + "\n")
	for range lines {
		if err := conn.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			c.t.Fatal(err)
		}
		if _, err := conn.Write(line); err != nil {
			c.t.Fatal(err)
		}
	}
}

// lose forces the causes of loss that do not need a full spool.
func (c *collector) lose() {
	c.t.Helper()
	c.write("udp", c.udp, make([]byte, 2000))                       // truncated: max=1KiB
	c.write("tcp", c.tcp, []byte(strings.Repeat("y", 10_000)+"\n")) // frame_too_long: max=4KiB
	c.write("tcp", c.octet, []byte("no length before this\n"))      // malformed
	reset := dial(c.t, "tcp", c.octet)
	if _, err := reset.Write([]byte("100 only a part")); err != nil {
		c.t.Fatal(err)
	}
	c.await("the part of a frame arrives", func(s map[string]any) bool { return connections(s, "feed") > 0 })
	if err := reset.(*net.TCPConn).SetLinger(0); err != nil { // so that Close sends a reset
		c.t.Fatal(err)
	}
	reset.Close()
	// kernel_overflow: more than the receive buffer holds, while the process does not read.
	c.signal(syscall.SIGSTOP)
	udp := dial(c.t, "udp", c.udp)
	defer udp.Close()
	for range 2000 {
		_, _ = udp.Write(make([]byte, 500))
	}
	c.signal(syscall.SIGCONT)
}

func (c *collector) write(network, addr string, b []byte) {
	c.t.Helper()
	conn := dial(c.t, network, addr)
	defer conn.Close()
	if _, err := conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *collector) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// fill sends to a class until its spool is full and, if its senders do not wait, loses records because of that. It goes on
// sending until stop is called.
func (c *collector) fill(name, network, addr string) (stop func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	conn := dial(c.t, network, addr)
	full := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		pause := time.NewTicker(10 * time.Millisecond)
		defer pause.Stop()
		for ctx.Err() == nil {
			if _, err := fmt.Fprintf(conn, "%s\n", strings.Repeat("z", 900)); err != nil {
				return // it is closed by stop: a full spool lets TCP wait
			}
			select {
			case <-full:
				<-pause.C
			default:
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		conn.Close()
		sending.Wait()
	})
	c.t.Cleanup(stop)
	c.await("the spool of "+name+" is full", func(s map[string]any) bool {
		x := class(s, name)
		_, lost := x["balance"].(map[string]any)["lost"].(map[string]any)["spool_full"]
		return x["spool"].(map[string]any)["full"] == true && (lost || network == "tcp")
	})
	close(full)
	return stop
}

// lost puts a file where the directory of a destination was; found undoes it.
func (c *collector) lost(dest string) (found func()) {
	c.t.Helper()
	dir := filepath.Join(c.dir, dest)
	check := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	check(os.Rename(dir, dir+".away"))
	check(os.WriteFile(dir, nil, 0o644))
	return func() {
		c.t.Helper()
		check(os.Remove(dir))
		check(os.Rename(dir+".away", dir))
	}
}

// command checks the exit code of collector status, and that its table says what the page says.
func (c *collector) command(code int, want ...string) {
	c.t.Helper()
	out, err := exec.Command(c.cmd.Path, "status", "-http", c.page).CombinedOutput()
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		c.t.Fatal(err)
	}
	if got != code {
		c.t.Errorf("collector status: exit code %d, want %d\n%s", got, code, out)
	}
	for _, w := range want {
		if !strings.Contains(string(out), w) {
			c.t.Errorf("collector status does not say %q:\n%s", w, out)
		}
	}
}

// await asks for /status.json until it is as it should be.
func (c *collector) await(what string, ok func(map[string]any) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok(c.status()) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b, _ := json.MarshalIndent(c.status(), "", " ")
			c.t.Fatalf("waited in vain: %s\n%s", what, b)
		}
	}
}

func (c *collector) status() (s map[string]any) {
	c.t.Helper()
	r, err := http.Get(c.page + "status.json")
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// class finds a class in /status.json.
func class(s map[string]any, name string) map[string]any {
	for _, c := range s["classes"].([]any) {
		if c := c.(map[string]any); c["class"] == name {
			return c
		}
	}
	return nil
}

func destination(s map[string]any, name, dest string) map[string]any {
	for _, d := range class(s, name)["destinations"].([]any) {
		if d := d.(map[string]any); d["destination"] == dest {
			return d
		}
	}
	return nil
}

func connections(s map[string]any, name string) (n float64) {
	for _, l := range class(s, name)["listeners"].([]any) {
		n += l.(map[string]any)["stream"].(map[string]any)["connections"].(float64)
	}
	return n
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
