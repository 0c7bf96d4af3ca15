package udprelay

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func addrs(list ...string) (all []netip.AddrPort) {
	for _, a := range list {
		all = append(all, netip.MustParseAddrPort(a))
	}
	return all
}

var rulesets = map[string]ruleset{
	"spray": {
		table: "penstock_relay", listen: addrs("10.0.1.10:514", "[fd00::10]:514"),
		targets: addrs("10.0.2.1:514", "10.0.2.2:5140", "[fd00::2:1]:514"),
	},
	"generations": {table: "relay", listen: addrs("0.0.0.0:514", "[::]:514"), targets: addrs("10.0.2.20:514"), first: 40960, count: 24576},
	"empty":       {table: "relay", listen: addrs("10.0.1.10:514")},
}

// TestRules compares the commands with golden files and, if nft is installed, checks that it accepts them.
func TestRules(t *testing.T) {
	for name, r := range rulesets {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := r.write(&b); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("the rules are\n%s\nwant\n%s", b.Bytes(), want)
			}
			cmd := exec.Command("unshare", "--net", "nft", "--check", "--file", "-")
			cmd.Stdin = bytes.NewReader(b.Bytes())
			out, err := cmd.CombinedOutput()
			switch {
			case err == nil:
			case os.Getenv("CI") == "true" || os.Geteuid() == 0 && cmd.ProcessState != nil && len(out) > 0 && !bytes.Contains(out, []byte("unshare")):
				t.Errorf("nft: %v: %s", err, out)
			default:
				t.Skipf("nft cannot be asked: %v: %s", err, out)
			}
		})
	}
}

func TestCounterNames(t *testing.T) {
	for _, a := range addrs("10.0.2.1:514", "[fd00::2:1]:65535", "[2001:db8::]:1") {
		if back, ok := targetOf(counterOf(a)); !ok || back != a {
			t.Errorf("%v is counted as %s, which is read as %v", a, counterOf(a), back)
		}
	}
	for _, name := range []string{inCounter, noTargetCounter, "out_", "out_x_1", "out_10.0.0.1_70000"} {
		if a, ok := targetOf(name); ok {
			t.Errorf("%s is taken for the counter of %v", name, a)
		}
	}
}
