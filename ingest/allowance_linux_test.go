package ingest

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Every driver of this machine that has statistics returns as many values as names; they are read in the same way as
// ENA's.
func TestNICs(t *testing.T) {
	n := newNICs()
	for _, a := range n.read() {
		t.Logf("this machine has allowances: %+v", a)
	}
	if n.fd < 0 {
		t.Fatal("no socket to ask through")
	}
	defer unix.Close(n.fd)
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, i := range interfaces {
		names, err := n.strings(i.Name)
		if errors.Is(err, unix.EOPNOTSUPP) { // such as the loopback
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", i.Name, err)
			continue
		}
		values, err := n.values(i.Name, len(names))
		if err != nil || len(values) != len(names) {
			t.Errorf("%s: %d names, %d values, %v", i.Name, len(names), len(values), err)
		}
		for _, name := range names {
			if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%s: %q", i.Name, names)
			}
		}
		if len(names) > 0 {
			asked++
		}
	}
	if asked == 0 {
		t.Skip("no interface here has a driver with statistics")
	}
	if _, err := n.values("no such interface", 1); err == nil {
		t.Error("an interface that does not exist has values")
	}
}
