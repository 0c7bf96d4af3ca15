//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestNoInode: other files use every inode of the spool's file system, which has free blocks. A drain delivers the records on
// the disk and in memory, and ends.
func TestNoInode(t *testing.T) {
	disk := testserver.SmallDisk(t, 400<<20, "-N", "64")
	dir, dest, addr := filepath.Join(disk, "spool"), t.TempDir(), testserver.FreeAddr(t)
	c := startCollector(t, dir, nil, "-listen", "vpn=udp://"+addr, "-dest", "d=file://"+dest, "-segment-bytes", "1MiB",
		"-segment-age", "1h", "-on-term", "drain", "-drain-timeout", "20s", "-lifecycle", "none").ready()
	first := loadgenSend(t, "-to", "udp://"+addr, "-rate", "5000", "-count", "2000", "-run", "before")
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(disk, fmt.Sprint("file-", i)))
		if err != nil {
			break
		}
		_ = f.Close()
	}
	second := loadgenSend(t, "-to", "udp://"+addr, "-rate", "5000", "-count", "6000", "-run", "after")
	if code := c.end(syscall.SIGTERM, 40*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := c.report().Classes["vpn"]; r.Kept.Records != first.Sent+second.Sent {
		t.Errorf("%d and %d sent, the report says %+v", first.Sent, second.Sent, r)
	}
	loadgenCheck(t, nil, "before", first.Sent, "file://"+dest)
	loadgenCheck(t, nil, "after", second.Sent, "file://"+dest)
}
