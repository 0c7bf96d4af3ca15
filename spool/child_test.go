package spool

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

var killRounds = flag.Int("kill.rounds", 4, "how often TestKill kills its child")

const (
	childEnv  = "PENSTOCK_SPOOL_TEST_CHILD"
	killBytes = 1 << 30 // nothing is delivered: more than a hundred children keep
)

// child is another process: it appends from several goroutines until it is killed, and writes a line for each batch that
// is kept. Its payloads are numbered by writer.
func child() {
	life, _ := strconv.Atoi(os.Getenv(childEnv + "_LIFE"))
	policy, _ := strconv.Atoi(os.Getenv(childEnv + "_POLICY"))
	o := Options{Sync: SyncPolicy(policy), Destinations: []string{"a"}, MaxBytes: killBytes}
	small(&o)
	s, err := Open(os.Getenv(childEnv), &o)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				n := 1 + i%5
				b := make([]segment.Record, n)
				for k := range b {
					b[k].Data = fmt.Appendf(nil, "life %d writer %d batch %d record %d %0200d", life, w, i, k, 0)
				}
				last, err := s.Append(context.Background(), b)
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println("kept", last-uint64(n)+1, n, w, i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKill kills a process that appends, again and again, and looks for everything whose Append had returned.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	want := map[uint64]string{}
	for life := range *killRounds {
		policy := life % 3
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childEnv+"="+dir, childEnv+"_LIFE="+strconv.Itoa(life), childEnv+"_POLICY="+strconv.Itoa(policy))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		last := 100 + rand.IntN(1500)
		for n := 0; lines.Scan(); n++ {
			if n == last {
				_ = cmd.Process.Kill()
			}
			var first uint64
			var count, w, i int
			if _, err := fmt.Sscanf(lines.Text(), "kept %d %d %d %d", &first, &count, &w, &i); err != nil {
				if n < last {
					t.Fatalf("child said %q", lines.Text())
				}
				break // cut off by the kill
			}
			for k := range count {
				want[first+uint64(k)] = fmt.Sprintf("life %d writer %d batch %d record %d %0200d", life, w, i, k, 0)
			}
		}
		_ = cmd.Wait()
		checkKilled(t, dir, want)
	}
}

// checkKilled opens what a killed process left, and compares it with what it had promised.
func checkKilled(t *testing.T, dir string, want map[uint64]string) {
	t.Helper()
	var log errorLog
	d := &disk{fs: vfs.OS(), dir: dir, index: index.Open}
	s := d.open(t, Options{Destinations: []string{"a"}, MaxBytes: killBytes, Logger: log.logger()})
	defer s.Close()
	mustSeal(t, s)
	balanced(t, s)
	got := stageAll(t, s)
	for seq, payload := range want {
		if got[seq] != payload {
			t.Fatalf("record %d is %.60q, kept was %.60q", seq, got[seq], payload)
		}
	}
	seen := map[string]uint64{}
	for seq, payload := range got {
		if other, ok := seen[payload]; ok {
			t.Fatalf("records %d and %d are the same: %.60q", seq, other, payload)
		}
		seen[payload] = seq
	}
	if n := s.Stats().Appended; uint64(len(got)) != n {
		t.Fatalf("%d records are there, %d were given a number", len(got), n)
	}
	closeSpool(t, s)
	if err := log.err(); err != nil {
		t.Fatal(err)
	}
}
