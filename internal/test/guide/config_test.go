package guide

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestConfigurations gives every configuration to its program, which checks it and starts nothing.
func TestConfigurations(t *testing.T) {
	build(t)
	for _, p := range readPages(t) {
		for _, b := range p.blocks {
			if slices.Contains(checked, b.kind) {
				t.Run(fmt.Sprintf("%s:%d", p.name, b.line), func(t *testing.T) { check(t, b) })
			}
		}
	}
}

// check gives one configuration to its program. The files that it names are in a directory of the test.
func check(t *testing.T, b block) {
	dir := testserver.PlainDir(t) // rsyslog refuses white space
	for _, sub := range []string{"etc", "var"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	etc := filepath.Join(dir, "etc")
	testserver.WriteCert(t, etc, "tls")
	if err := errors.Join(os.Rename(filepath.Join(etc, "tls.key"), filepath.Join(etc, "key")), os.Symlink("key", filepath.Join(etc, "tls.key")),
		os.WriteFile(filepath.Join(etc, "known_hosts"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/etc/penstock", etc, "/var/lib/penstock", dir+"/var", "/var/spool/penstock", dir+"/var").Replace(b.text)
	file := filepath.Join(etc, "configuration")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	switch b.kind {
	case "yaml collector":
		cmd = exec.Command(filepath.Join(bin, "collector"), "check", "-offline", "-config", file)
	case "rsyslog":
		cmd = exec.Command(testserver.Find(t, "rsyslogd", "rsyslog, rsyslog-relp, rsyslog-gnutls and rsyslog-openssl"), "-N1", "-f", file, "-i", filepath.Join(dir, "pid"))
	case "nginx":
		cmd = exec.Command(testserver.Find(t, "nginx", "nginx and libnginx-mod-stream"), "-t", "-e", "stderr", "-g", "pid "+dir+"/pid;", "-p", dir, "-c", file)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
