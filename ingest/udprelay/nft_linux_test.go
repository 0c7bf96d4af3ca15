package udprelay

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fakeNFT replaces nft by a shell script.
func fakeNFT(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// TestWholeCommands: nft can read its commands to the end, even if this process is killed meanwhile. Otherwise it would execute
// only a part of them.
func TestWholeCommands(t *testing.T) {
	fakeNFT(t, "[ ! -p /proc/self/fd/0 ] && cat")
	commands := make([]byte, 300_000)
	got, err := runNFT(t.Context(), commands, "-f", "-")
	if err != nil || len(got) != len(commands) {
		t.Errorf("%d bytes of %d, %v", len(got), len(commands), err)
	}
}

// TestStrangeAnswers: unexpected output of nft is not taken to mean that the table is gone, which would count everything twice.
func TestStrangeAnswers(t *testing.T) {
	o := &Options{Listen: addrs("10.0.0.1:514")}
	n := &NFT{o: o.withDefaults(), used: true, own: true, count: newCounting()}
	n.count.note(map[string]uint64{"in": 5, "no_target": 0, "out_10.0.2.1_514": 5}, time.Now())
	for _, script := range []string{
		"echo garbage", "true", "echo 'counter in { packets 7 bytes 1 }'",
		"echo 'nft: error while loading shared libraries: libnftables.so.1: No such file or directory' >&2; exit 127", "kill -9 $$",
	} {
		fakeNFT(t, script)
		a, err := n.Account(context.Background())
		if err == nil || errors.Is(err, errNoTable) || a.In != 5 || a.Out[netip.MustParseAddrPort("10.0.2.1:514")] != 5 || !a.Balanced() {
			t.Errorf("%s: %+v, %v", script, a, err)
		}
	}
}

// TestForeign: what nft lists of tables.
func TestForeign(t *testing.T) {
	const maps = `table inet other {
	map out4 {
		type ipv4_addr . inet_service : counter
		elements = { 10.0.2.1 . 514 : "out_10.0.2.1_514", 10.0.2.2 . 514 : "out_10.0.2.2_514" }
	}
}
table ip nat {
}
`
	counted := parseCounted([]byte(maps))
	if len(counted) != 1 || len(counted["inet other"]) != 2 || !counted["inet other"][netip.MustParseAddrPort("10.0.2.2:514")] {
		t.Errorf("%v", counted)
	}
	if isOwn([]byte("table inet filter {\n\tchain spread4 {\n\t}\n}\n")) {
		t.Error("a table of another program is taken for an engine's")
	}
}
