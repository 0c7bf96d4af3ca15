package ingest

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestKeyExposed: a TLS key that every user can read is used, with a warning; for one that its group may read there is
// none.
func TestKeyExposed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("mode bits say nothing on Windows")
	}
	dir := filepath.Join(t.TempDir(), "a b")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	testserver.WriteCert(t, dir, "server")
	cert, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	for mode, exposed := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if _, err := TLSFiles(cert, key, "", slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "`chmod o= '"+key+"'`"); got != exposed {
			t.Errorf("%04o: %s", mode, &log)
		}
	}
}
