package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelays: with a relay there are an interface that may send with other addresses, rules that admit its clients, and an nft
// file that the kernel takes.
func TestRelays(t *testing.T) {
	tree, err := load(t).Mutate(prod, "relays = {}", `relays = { a = { subnet_id = "subnet-0bbbbbbbbbbbbbbb1", private_ip = "10.0.1.10", listener = "vpn-udp" } }`)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tree.Plan("prod")
	if err != nil {
		t.Fatal(err)
	}
	r := func(address string) resource {
		if p[address] == nil {
			t.Fatalf("no %s", address)
		}
		return resource{address, p[address], p}
	}
	for _, c := range []struct {
		address, path string
		want          any
	}{
		{"aws_network_interface.relay[a]", "source_dest_check", false},
		{"aws_network_interface.relay[a]", "private_ips", []any{"10.0.1.10"}},
		{"aws_instance.relay[a]", "metadata_options.0.http_tokens", "required"},
		{"aws_instance.relay[a]", "primary_network_interface.0.network_interface_id", "aws_network_interface.relay[a].id"},
		{"aws_vpc_security_group_ingress_rule.relay[a 10.64.0.0/10]", "from_port", 514},
		{"aws_vpc_security_group_ingress_rule.relay[a 10.64.0.0/10]", "ip_protocol", "udp"},
	} {
		if err := r(c.address).want(c.path, c.want); err != nil {
			t.Errorf("%s: %v", c.address, err)
		}
	}
	c, err := r("aws_instance.relay[a]").userData()
	if err != nil {
		t.Fatal(err)
	}
	need(t, "nft", "unshare", "awk")
	file := filepath.Join(t.TempDir(), "relay.nft")
	script := strings.Replace(c.file("/usr/local/sbin/penstock-relay"), "data.aws_network_interface.balancer[a].private_ip", "10.0.2.20", 1)
	cmd := exec.Command("sh", "-c", "sleep() { exit 0; }\n"+script)
	cmd.Env = instead(t, "nft", `[ "$*" = "--file -" ] && cat >'`+file+`'`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rules, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(rules), " : "); n != 4096 || !strings.Contains(string(rules), "ct state") {
		t.Errorf("%d ports, or fragments are lost", n)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may ask the kernel")
	}
	if out, err := exec.Command("unshare", "--net", "nft", "--check", "--file", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %.2000s", err, out)
	}
}
