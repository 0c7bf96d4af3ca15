//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// watch looks at a collector once a second: at its memory, and at what waits on its disk.
type watch struct {
	quit, done chan struct{}
	load
}

// load is what a watch has seen, in bytes.
type load struct {
	raw, rawMost       int64 // sealed and active segments, prepared ones included
	staged, stagedMost int64
	rssEarly, rssLate  int64 // mean of the first and of the last quarter
}

func startWatch(pid int, spool string) *watch {
	w := &watch{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		var rss []int64
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-w.quit:
				n := max(1, len(rss)/4)
				if len(rss) > 0 {
					w.rssEarly, w.rssLate = mean(rss[:n]), mean(rss[len(rss)-n:])
				}
				return
			}
			w.raw, w.staged = size(spool, "seg"), size(spool, "stage")
			w.rawMost, w.stagedMost = max(w.rawMost, w.raw), max(w.stagedMost, w.staged)
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil {
				if f := strings.Fields(string(b)); len(f) > 1 {
					pages, _ := strconv.ParseInt(f[1], 10, 64)
					rss = append(rss, pages*int64(os.Getpagesize()))
				}
			}
		}
	}()
	return w
}

func (w *watch) end() load {
	close(w.quit)
	<-w.done
	return w.load
}

func mean(all []int64) int64 {
	var sum int64
	for _, n := range all {
		sum += n
	}
	return sum / int64(len(all))
}

// size is that of the files in a directory; those that go meanwhile do not count.
func size(dir ...string) (n int64) {
	entries, _ := os.ReadDir(filepath.Join(dir...))
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
	}
	return n
}

// stages are functions below which a stage's work is done, as they stand in a CPU profile; nothing of one is below
// another.
var stages = [][2]string{
	{"receive, up to the commit buffer", `ingest\.\(\*socket\)\.serve`},
	{"commit to disk", `spool\.\(\*journal\)\.(flusher|backgroundSync)$`},
	{"stage: encode, compress, hash", `spool\.guardedEncoder\.Encode`},
	{"S3: upload and verify", `s3ship\.|net/http\.\(\*persistConn\)\.(writeLoop|readLoop)`},
	{"SFTP: upload and verify", `sftpship\.|internal/sftpc\.|crypto/ssh\.`},
	{"garbage collection", `runtime\.gcBgMarkWorker$|runtime\.bgsweep|runtime\.gcAssistAlloc$`},
}

// shares sums the samples of a CPU profile by stage.
func shares(t *testing.T, profile string) (rows [][2]string) {
	t.Helper()
	for _, stage := range stages {
		out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=1000000", "-nodefraction=0", "-focus", stage[1], binary(t, "collector"), profile).CombinedOutput()
		if err != nil {
			t.Fatalf("go tool pprof: %v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			// "Showing nodes accounting for 1.20s, 12.3% of 9.76s total"
			if what, ok := strings.CutPrefix(line, "Showing nodes accounting for "); ok {
				rows = append(rows, [2]string{"CPU, " + stage[0], strings.TrimSpace(what)})
				if strings.HasPrefix(what, "0, ") && !strings.Contains(stage[1], "runtime") {
					t.Errorf("no function of %q is in the profile: correct its names", stage[0])
				}
			}
		}
	}
	return rows
}
