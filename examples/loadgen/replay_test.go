package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/examples/loadgen/report"
)

// writeCapture writes a capture of datagrams to port 514, one each step, and returns its path.
func writeCapture(t *testing.T, step time.Duration, payloads ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65536, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	for i, p := range payloads {
		ip := &layers.IPv4{Version: 4, TTL: 9, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 0, byte(i % 5)}, DstIP: net.IP{10, 0, 0, 1}}
		out := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true}, ip, &layers.UDP{SrcPort: 9, DstPort: 514}, gopacket.Payload(p))
		if err != nil {
			t.Fatal(err)
		}
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1700000000, 0).Add(time.Duration(i) * step), CaptureLength: len(out.Bytes()), Length: len(out.Bytes())}
		if err := w.WritePacket(info, out.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "fw.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// replayedTo replays captures to a listener. It returns the report, the received lines, and the error.
func replayedTo(t *testing.T, listenURL, query string, args ...string) (r report.Report, got [][]byte, err error) {
	t.Helper()
	addr, s, shut := listen(t, listenURL)
	scheme, _, _ := strings.Cut(listenURL, ":")
	out, err := call(t.Context(), replayCommand(), append([]string{"-to", scheme + "://" + addr + query, "-run", "re", "-sources", "3"}, args...)...)
	if jerr := json.Unmarshal([]byte(out), &r); jerr != nil {
		t.Fatalf("%v: %q: %v", jerr, out, err)
	}
	for s.count() < int(r.Sent) {
		<-s.come
	}
	return r, shut(), err
}

// TestReplay: the datagrams arrive as captured and at their times, or stamped so that each proves itself.
func TestReplay(t *testing.T) {
	var lines []string
	for i := range 40 {
		lines = append(lines, strings.Repeat("x", i+1))
	}
	path := writeCapture(t, 20*time.Millisecond, lines...)
	begin := time.Now()
	r, got, err := replayedTo(t, "udp://127.0.0.1:0", "", "-speed", "2", path)
	if took := time.Since(begin); err != nil || r.Sent != 40 || took < 390*time.Millisecond {
		t.Errorf("%d lines in %v: %v", r.Sent, took, err)
	}
	seen := map[string]bool{}
	for _, g := range got {
		seen[string(g)] = true
	}
	for _, l := range lines {
		if !seen[l] {
			t.Errorf("%q has not come", l)
		}
	}
	if r.Replay == nil || r.Replay.Packets != 40 || len(r.Replay.Skipped) > 0 || r.Replay.Stamped {
		t.Errorf("%+v", r.Replay)
	}

	r, got, err = replayedTo(t, "tcp://127.0.0.1:0?framing=octet", "?framing=octet", "-rate", "5000", "-stamp", path, path)
	tally := fwlog.NewTally("re", 80)
	for _, g := range got {
		tally.Add(g)
	}
	if err != nil || r.Sent != 80 || !tally.OK() || !r.Replay.Stamped {
		t.Errorf("%d sent, %d missing, %d altered: %v", r.Sent, tally.Missing(), tally.Altered, err)
	}
}

// TestReplayAccount: datagrams that cannot be sent are counted: packets = sent + skipped.
func TestReplayAccount(t *testing.T) {
	path := writeCapture(t, 0, "one", "", "two\nlines", "three")
	r, got, err := replayedTo(t, "tcp://127.0.0.1:0?framing=newline", "", "-speed", "0", path)
	if err != nil || r.Sent != 2 || len(got) != 2 || r.Replay.Packets != 4 || r.Replay.Skipped["empty"] != 1 || len(r.Replay.Skipped) != 2 {
		t.Errorf("%v: %q, %+v", err, got, r.Replay)
	}
	r, _, err = replayedTo(t, "udp://127.0.0.1:0", "", "-speed", "0", "-port", "515", path)
	if err != nil || r.Sent != 0 || r.Replay.Packets != 4 || r.Replay.Skipped["for another port"] != 4 {
		t.Errorf("%v: %+v", err, r.Replay)
	}
}

// TestReplayCut: a capture that was cut off is sent up to the cut; the error names the file and the packet, and says how much was
// sent.
func TestReplayCut(t *testing.T) {
	path := writeCapture(t, 0, "one", "two", "three")
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, data[:len(data)-2], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, got, err := replayedTo(t, "udp://127.0.0.1:0", "", "-speed", "0", path)
	if r.Sent != 2 || len(got) != 2 || err == nil {
		t.Fatalf("%d sent: %v", r.Sent, err)
	}
	for _, want := range []string{path, "packet 3 cannot be read", "cut off", "2 packets before it were read", "2 lines were sent"} {
		if !strings.Contains(err.Error(), want) || !strings.Contains(r.Error, "cut off") {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	for _, args := range [][]string{{path + "x"}, {}, {"-port", "70000", path}, {"-speed", "-1", path}} {
		if _, err := call(t.Context(), replayCommand(), append([]string{"-to", "udp://127.0.0.1:9"}, args...)...); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
