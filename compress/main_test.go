package compress

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// firewall returns n bytes of lines as a firewall writes them, always the same. The caller must not change them.
func firewall(n int) []byte {
	text := firewallText()
	if n > len(text) {
		text = makeFirewall(n)
	}
	return text[:n:n]
}

var firewallText = sync.OnceValue(func() []byte { return makeFirewall(3*zstdWindow + 1000) })

func makeFirewall(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	actions := []string{"accept", "accept", "accept", "accept", "deny", "close", "timeout"}
	services := []string{"HTTPS", "HTTPS", "DNS", "HTTP", "NTP", "SSH", "tcp/8443", "udp/51820"}
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `<134>date=2026-11-22 time=%02d:%02d:%02d devname="fw-%02d" devid="FG100F%07d" logid="0000000013" type="traffic" `+
			`subtype="forward" level="notice" vd="root" srcip=10.%d.%d.%d srcport=%d srcintf="port%d" dstip=%d.%d.%d.%d dstport=%d `+
			`policyid=%d sessionid=%d proto=%d action="%s" service="%s" trandisp="snat" duration=%d sentbyte=%d rcvdbyte=%d sentpkt=%d rcvdpkt=%d`+"\n",
			i/3600000%24, i/60000%60, i/1000%60, rng.IntN(12), rng.IntN(12), rng.IntN(4), rng.IntN(256), rng.IntN(256), 1024+rng.IntN(64000),
			rng.IntN(8), 1+rng.IntN(220), rng.IntN(256), rng.IntN(256), rng.IntN(256), rng.IntN(65536), rng.IntN(400), 1<<30+i*7, []int{6, 17}[rng.IntN(2)],
			actions[rng.IntN(len(actions))], services[rng.IntN(len(services))], rng.IntN(600), rng.IntN(1<<20), rng.IntN(1<<24), rng.IntN(2000), rng.IntN(20000))
	}
	return b.Bytes()
}

// noise returns n bytes that no codec can shorten.
func noise(n int) []byte {
	rng := rand.NewChaCha8([32]byte{9})
	b := make([]byte, n)
	rng.Read(b)
	return b
}

// pack compresses data in writes of at most step bytes (0: one write).
func pack(t testing.TB, c Codec, level int, data []byte, step int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := c.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	for rest := data; len(rest) > 0; {
		n := len(rest)
		if step > 0 {
			n = min(n, step)
		}
		if m, err := w.Write(rest[:n]); err != nil || m != n {
			t.Fatalf("write: %d of %d, %v", m, n, err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpack reads a stream to its end or its first error.
func unpack(t testing.TB, c Codec, r io.Reader) ([]byte, error) {
	t.Helper()
	zr, err := c.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := zr.Close(); err != nil {
			t.Error(err)
		}
	}()
	return io.ReadAll(zr)
}

func each(t *testing.T, f func(t *testing.T, c Codec)) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			c, err := ByName(name)
			if err != nil {
				t.Fatal(err)
			}
			f(t, c)
		})
	}
}

// levels returns the levels of a codec that differ.
func levels(c Codec) []int {
	i := c.Info()
	if i.Name == "zstd" {
		return []int{1, 3, 6, 22}
	}
	var all []int
	for level := i.MinLevel; level <= i.MaxLevel; level++ {
		all = append(all, level)
	}
	return all
}

// tool finds a command-line tool. CI must have it; elsewhere the test is skipped.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI needs the %s tool: %v", name, err)
		}
		t.Skipf("no %s tool installed: %v", name, err)
	}
	return path
}
