package ingest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	for _, raw := range []string{
		"udp://127.0.0.1:0", "udp://127.0.0.1:0?sockets=2&gro=off&rcvbuf=1MiB&max=9000&rate=10", "udp://127.0.0.1:0?gro=on",
		"udp://127.0.0.1:0?proxy=v2&trust=127.0.0.1", "tcp://127.0.0.1:0?proxy=off",
		"tcp://127.0.0.1:0", "tcp://127.0.0.1:0?framing=octet&max=64KiB", "tcp://:0?framing=len16",
		"unixgram://" + filepath.Join(t.TempDir(), "s") + "?max=100000",
	} {
		l, err := Listen(raw, nil)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		l.Close()
	}
	l, err := Listen("udp://127.0.0.1:0?sockets=2&gro=on&rcvbuf=2MiB&max=9000&rate=7", &Options{UDP: UDPOptions{MaxRecord: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := Listen("tcp://127.0.0.1:0?proxy=on&trust=10.0.0.0/8,2001:db8::1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if from := p.(*TCP).o.ProxyFrom; fmt.Sprint(from) != "[10.0.0.0/8 2001:db8::1/128]" {
		t.Errorf("%v", from)
	}
	if o := l.(*UDP).o; o.Sockets != 2 || !o.GRO || o.ReceiveBuffer != 2<<20 || o.MaxRecord != 9000 || o.ExpectedRate != 7 {
		t.Errorf("%+v", o)
	}
}

func TestListenBad(t *testing.T) {
	for raw, wants := range map[string][]string{
		"udp://:514?sockets=0&gro=maybe&rcvbuf=1PB&max=-1&framing=octet": {"sockets=0", "gro=maybe", "rcvbuf=1PB", "max=-1", "framing"},
		"udp://localhost":                             {"port"},
		"udp://:0?max=100000":                         {"65535"},
		"udp://:0/path":                               {"/path"},
		"udp://:0?sockets=1&sockets=2":                {"2 times"},
		"udp://user@:0":                               {"user"},
		"tcp://:0?proxy=on":                           {"trust=CIDR"},
		"tcp://:0?trust=10.0.0.0/8":                   {"without proxy=on"},
		"tcp://:0?proxy=v2&trust=10.0.0.0/33":         {"proxy=v2"},
		"udp://:0?proxy=on":                           {"proxy=on: want v2 or off"},
		"udp://:0?proxy=v2&trust=10.0.0.0/33":         {"10.0.0.0/33"},
		"udp://:0?proxy=v2&trust=::ffff:10.0.0.0/104": {"IPv4 prefix"},
		"tcp://:0?framing=xml&gro=on":                 {"framing=xml", "gro"},
		"tcp://:0?max=1GiB":                           {"16777215"},
		"tcp://:0?%zz":                                {"%zz"},
		"unixgram://relative":                         {"three slashes"},
		"relp://:0":                                   {"relp", "udp, tcp"},
		":514":                                        {"514"},
		"/dev/log":                                    {"SCHEME"},
	} {
		l, err := Listen(raw, nil)
		if err == nil {
			l.Close()
			t.Errorf("%s was accepted", raw)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not name %q", raw, err, want)
			}
		}
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int{
		"1": 1, "64KiB": 64 << 10, "3MiB": 3 << 20, "1GiB": 1 << 30, "": 0, "KiB": 0, "0": 0,
		"-1": 0, "1.5MiB": 0, "1TiB": 0, "2000000000GiB": 0, "1 MiB": 0,
	} {
		if got, ok := parseBytes(s); got != want || ok != (want > 0) {
			t.Errorf("%q: %d, %v, want %d", s, got, ok, want)
		}
	}
}

// TestPasswordHidden: no message repeats a password that is in a URL by mistake.
func TestPasswordHidden(t *testing.T) {
	for _, u := range []string{"udp://u:hunter2@:1?x=1", "ftp://u:hunter2@:1", "tcp://u:hunter2@:1?framing=none", "tcp://u@h:hunter2", "u:hunter2@h", "udp://u:hunter2@:x y"} {
		if _, err := Parse(u, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
