package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestCopyShortened: a file that was shortened is copied as far as it goes. Otherwise its segment would never be sealed, and nothing after
// it delivered, until the process ends.
func TestCopyShortened(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 3<<20)
	for _, left := range []int{0, 1 << 20, 1<<20 + 5} {
		path := filepath.Join(t.TempDir(), "copy")
		dst, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := copyFile(dst, bytes.NewReader(data[:left]), int64(len(data)), false); err != nil {
			t.Errorf("%d bytes are left: %v", left, err)
		}
		dst.Close()
		got, err := os.ReadFile(path)
		if want := append(bytes.Clone(data[:left]), make([]byte, len(data)-left)...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes are left: other bytes, %v", left, err)
		}
	}
}
