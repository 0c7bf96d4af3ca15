//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// mode is the file modes that the programs request below a directory: umask removes bits, and nothing adds any.
type mode struct{ dir, file fs.FileMode }

// TestModes: every file and directory that the programs create has the mode that .github/SECURITY.md documents, whatever the umask.
func TestModes(t *testing.T) {
	for _, umask := range []fs.FileMode{0, 0o022, 0o077} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) {
			root := t.TempDir()
			at := func(name string) string { return filepath.Join(root, name) }
			under := []string{"sh", "-c", fmt.Sprintf(`umask %03o; exec "$@"`, umask), "sh"}
			tcp := testserver.FreeAddr(t)
			c := startCollectorUnder(t, under, nil, at("spools"), nil, "-listen", "vpn=tcp://"+tcp, "-dest", "a=file://"+at("dest"), "-lifecycle", "none",
				"-on-term", "drain", "-segment-age", "200ms", "-cpu-profile", at("cpu")).ready()
			loadgenSend(t, "-to", "tcp://"+tcp, "-count", "200", "-run", "modes")
			c.until("an object", 20*time.Second, func() bool {
				all, _ := filepath.Glob(at("dest/class=vpn/*/*/*"))
				return len(all) > 0
			})
			want := map[string]mode{"spools": {0o755, 0o640}, "spools/vpn": {0o750, 0o640}, "dest": {0o755, 0o644}, "cpu": {0, 0o640}, "check": {0, 0o644}}
			checkModes(t, root, umask, want)
			for _, args := range [][]string{
				{"spoolctl", "export", "-to", at("export"), at("spools/vpn")},
				{"loadgen", "check", "-run", "modes", "-sent", "200", "-at", "file://" + at("dest"), "-out", at("check")},
				{"audit", "-deep", "-checkpoint", at("checkpoint"), "-at", "file://" + at("dest")},
			} {
				cmd := exec.Command(under[0], append(append(under[1:len(under):len(under)], binary(t, args[0])), args[1:]...)...)
				if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 3 { // the spool is still open
					t.Fatalf("%q: %v\n%s", args, err, out)
				}
			}
			if code := c.end(syscall.SIGTERM, time.Minute); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			want["export"] = mode{0o750, 0o640}
			if n := checkModes(t, root, umask, want); n < 15 {
				t.Errorf("only %d files", n)
			}
		})
	}
}

// checkModes compares each mode below root with that of the longest prefix of its name that is documented.
func checkModes(t *testing.T, root string, umask fs.FileMode, want map[string]mode) (files int) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		best, m := "", mode{}
		for prefix, asked := range want {
			if (name == prefix || strings.HasPrefix(name, prefix+"/") || strings.HasPrefix(name, prefix+".")) && len(prefix) > len(best) {
				best, m = prefix, asked
			}
		}
		asked := m.file
		if files++; fi.IsDir() {
			asked = m.dir
		}
		if got := fi.Mode().Perm(); got != asked&^umask {
			t.Errorf("%s has mode %04o, not %04o", name, got, asked&^umask)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return files
}
