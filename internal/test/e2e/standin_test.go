//go:build linux

package e2e

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/spool/segment"
)

// The addresses that the stand-in's configuration has.
const (
	standInUDP, standInTCP = "127.0.0.1:5514", "127.0.0.1:5601"
	behindUDP, behindTCP   = "127.0.0.1:6514", "127.0.0.1:6601"
)

// TestStandIn runs examples/deploy/standin unchanged: nginx stands for the firewall, in front of a collector. Over TCP the
// PROXY header has version 2 and the client's address, and no byte is lost. Over UDP each datagram comes from a different port.
func TestStandIn(t *testing.T) {
	nginx := testserver.Find(t, "nginx", "nginx, libnginx-mod-stream and libnginx-mod-stream-js")
	testserver.FindFile(t, "/usr/lib/nginx/modules/ngx_stream_js_module.so", "libnginx-mod-stream-js")
	conf, err := filepath.Abs("../../../examples/deploy/standin/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	// Its prefix is not where the configuration is: it writes its pid file there.
	run(t, exec.Command(nginx, "-e", "stderr", "-p", t.TempDir(), "-c", conf))
	header(t)

	dir, dest := t.TempDir(), t.TempDir()
	at := "file://" + dest
	c := startCollector(t, dir, nil, "-listen", "fw=udp://"+behindUDP, "-listen", "web=tcp://"+behindTCP+"?proxy=on&trust=127.0.0.1",
		"-dest", "d="+at, "-segment-age", "1s", "-on-term", "drain", "-lifecycle", "none").ready()
	const lines = 600
	gen, err := fwlog.NewGenerator("web", 1)
	if err != nil {
		t.Fatal(err)
	}
	client := fromBehind(t, c)
	var data []byte
	for seq := range uint64(lines) {
		data = append(gen.Append(data, 0, seq, 300), '\n')
	}
	if _, err := client.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, client); err != nil { // until the collector has read everything
		t.Fatal(err)
	}
	loadgenSend(t, "-to", "udp://"+standInUDP, "-rate", "400", "-count", "600", "-sources", "1", "-run", "fw")
	c.until("the last datagrams to be received", 20*time.Second, func() bool { return arrived(t, at, "fw", lines, nil).Found >= lines*9/10 })
	if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	loadgenCheck(t, nil, "web", lines, at)
	arrived(t, at, "web", lines, func(r segment.Record) {
		if r.Src.Addr() != behindProxy {
			t.Fatalf("a record from %v, not from the client's %v", r.Src, behindProxy)
		}
	})
	ports := map[netip.AddrPort]bool{}
	tally := arrived(t, at, "fw", lines, func(r segment.Record) { ports[r.Src] = true })
	if tally.Duplicate > 0 || tally.Altered > 0 || tally.Found < lines*9/10 {
		t.Errorf("%d found, %d duplicated, %d altered", tally.Found, tally.Duplicate, tally.Altered)
	}
	if uint64(len(ports)) < tally.Found*9/10 {
		t.Errorf("%d datagrams of one client came from %d ports only", tally.Found, len(ports))
	}
}

// fromBehind connects to nginx from another address than nginx's own, once nginx listens.
func fromBehind(t *testing.T, c *collector) (client net.Conn) {
	t.Helper()
	from := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(behindProxy, 0))}
	dial := func() bool {
		var err error
		client, err = from.Dial("tcp", standInTCP)
		return err == nil
	}
	if c != nil {
		c.until("nginx to accept", 20*time.Second, dial)
	} else {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; !dial(); n++ {
			if <-tick.C; n == 1000 {
				t.Fatal("nginx does not accept connections")
			}
		}
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// header reads what nginx writes in front of a connection, in the collector's place.
func header(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", behindTCP)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := fromBehind(t, nil)
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 16+12+5)
	_, err = io.ReadFull(conn, got)
	conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	port := client.LocalAddr().(*net.TCPAddr).Port
	want, _ := hex.DecodeString("0d0a0d0a000d0a515549540a" + "2111000c" + "7f000002" + "7f000001")
	want = append(want, byte(port>>8), byte(port), 5601>>8, 5601&255)
	if !bytes.Equal(got, append(want, "hello"...)) {
		t.Fatalf("in front of the connection is %x, want %x", got, want)
	}
}
