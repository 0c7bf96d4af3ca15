package deploy

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCollectorReads: the collector itself accepts the configuration that the templates write, and refuses one with a mistake.
func TestCollectorReads(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "collector")
	if out, err := exec.Command("go", "build", "-C", "../../..", "-o", program, "./examples/collector").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writeSecrets(t, dir)
	for file, text := range configurations(t, load(t)) {
		for _, bad := range []bool{false, true} {
			// What only AWS and the first boot know.
			text := strings.NewReplacer("aws_s3_bucket.this.id", "penstock-20261129", "/run/penstock/secrets", dir).Replace(text)
			if bad {
				text = strings.Replace(text, "lifecycle", "life-cycle", 1)
			}
			path := filepath.Join(dir, "collector.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(program, "check", "-offline", "-config", path).CombinedOutput()
			if err != nil != bad {
				t.Errorf("%s, bad %v: %v\n%s\n%s", file, bad, err, out, text)
			}
		}
	}
}

// configurations returns every configuration file of a collector in the templates.
func configurations(t *testing.T, tree Tree) map[string]string {
	w, err := newWorld(tree)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, p := range tree.Under("kubernetes", "/collector.yaml") {
		files[p] = tree[p]
	}
	for name, p := range w.plans {
		for _, group := range []string{"main", "apart"} {
			address := "aws_launch_template.server[" + group + "]"
			c, err := resource{address, p[address], p}.userData()
			if err != nil {
				t.Fatal(err)
			}
			files[name+" "+group] = c.file("/etc/penstock/collector.yaml")
		}
	}
	return files
}

// writeSecrets writes a key and a known_hosts line as the files that the configuration names.
func writeSecrets(t *testing.T, dir string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	wire := fmt.Appendf(nil, "\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20%s", public)
	for name, content := range map[string][]byte{
		"idc_key":         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"idc_known_hosts": []byte("idc.example ssh-ed25519 " + base64.StdEncoding.EncodeToString(wire) + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o400); err != nil {
			t.Fatal(err)
		}
	}
}
