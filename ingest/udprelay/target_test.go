package udprelay

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseTargets(t *testing.T) {
	got, err := ParseTargets([]byte("# collectors\n10.0.2.1:514\n\n 10.0.2.2:514 draining # soon gone\r\n[fd00::1]:514\n::ffff:1.2.3.4 \n"))
	if err == nil || !strings.Contains(err.Error(), "line 6") {
		t.Errorf("%v, %v: a line without a port is good", got, err)
	}
	got, err = ParseTargets([]byte("10.0.2.1:514\n10.0.2.2:514 draining\n[::ffff:10.0.2.3]:514"))
	if s := fmt.Sprint(got); err != nil || s != "[{10.0.2.1:514 false} {10.0.2.2:514 true} {10.0.2.3:514 false}]" {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := ParseTargets([]byte("\n # \n")); !errors.Is(err, ErrNoTargets) {
		t.Error(err)
	}
	for _, bad := range []string{
		"10.0.2.1", "example.com:514", "10.0.2.1:0", "10.0.2.1:65536", "0.0.0.0:514", "[::]:514", "224.0.0.1:514", "255.255.255.255:514",
		"[fe80::1%eth0]:514", "10.0.2.1:514 drain", "10.0.2.1:514 draining now", "10.0.2.1:514\n10.0.2.1:514", "\x00",
		strings.Repeat("10.0.2.1:514\n", MaxTargets+1),
	} {
		if got, err := ParseTargets([]byte(bad)); err == nil || got != nil {
			t.Errorf("%.60q: %v, %v", bad, got, err)
		}
	}
	_, err = ParseTargets([]byte("a\nb\n10.0.0.1:0\n"))
	if n := strings.Count(err.Error(), "\n") + 1; n != 3 {
		t.Errorf("%d mistakes are named: %v", n, err)
	}
}

// FuzzParseTargets: a list is accepted or refused as a whole, and an accepted list can be written and read again.
func FuzzParseTargets(f *testing.F) {
	f.Add([]byte("10.0.2.1:514\n[fd00::1]:514 draining # x\n"))
	f.Add([]byte("[fe80::1%a]:1\n\x00:\r"))
	f.Fuzz(func(t *testing.T, list []byte) {
		targets, err := ParseTargets(list)
		if err != nil {
			if targets != nil {
				t.Fatalf("%v beside %v", targets, err)
			}
			return
		}
		var again strings.Builder
		for _, g := range targets {
			again.WriteString(g.Addr.String())
			if g.Draining {
				again.WriteString(" draining")
			}
			again.WriteString("\n")
			if back, ok := targetOf(counterOf(g.Addr)); !ok || back != g.Addr {
				t.Fatalf("%v has no counter", g.Addr)
			}
		}
		got, err := ParseTargets([]byte(again.String()))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(targets) {
			t.Fatalf("%v is read as %v, %v", targets, got, err)
		}
	})
}

// TestAllMistakes: invalid lines do not hide mistakes in the others.
func TestAllMistakes(t *testing.T) {
	_, err := ParseTargets([]byte("nonsense\n10.0.0.1:514\n10.0.0.1:514\r\n0.0.0.0:514\n10.0.0.2:514\x00\nfe80::1%eth0:1\n[fe80::1%eth0]:1\n"))
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"line 1", "10.0.0.1:514 is there twice", "0.0.0.0:514", "line 5", "line 6", "zone"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named:\n%v", want, err)
		}
	}
}
