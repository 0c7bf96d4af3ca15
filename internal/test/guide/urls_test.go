package guide

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship/open"
)

// destination is a destination of a command in a page, in the help of a program or in its documentation. The replay that a report of
// the auditor suggests (-to) is completed by its reader: a report names places without their parameters.
var destination = regexp.MustCompile(`-(?:at|dest|mark)[ =]('?)(?:[a-z0-9_-]+=)?((?:s3|sftp)://[a-z0-9][^\s'"\x60]*)`)

// TestURLs opens every destination that a command in a page or in a help text has, and demands that a shell leaves it whole.
// The commands themselves are not run, because no such server exists.
func TestURLs(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_REGION", "") // a reader may have none
	etc := t.TempDir()
	testserver.WriteCert(t, etc, "tls")
	if err := os.Rename(filepath.Join(etc, "tls.key"), filepath.Join(etc, "key")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etc, "known_hosts"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	found := 0
	try := func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" && filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range destination.FindAllStringSubmatch(string(text), -1) {
			found++
			if m[1] == "" && strings.ContainsAny(m[2], "?&") {
				t.Errorf("%s: %s needs quotes", path, m[2])
			}
			if _, err := open.Destination(t.Context(), strings.ReplaceAll(m[2], "/etc/penstock", etc), nil); err != nil {
				t.Errorf("%s: %s: %v", path, m[2], err)
			}
		}
		return err
	}
	for _, at := range []string{"README.md", "internal/docs/guide", "examples"} {
		if err := filepath.WalkDir(filepath.Join(root, at), try); err != nil {
			t.Fatal(err)
		}
	}
	if found < 7 {
		t.Errorf("only %d destinations were found", found)
	}
}
