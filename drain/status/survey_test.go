package status

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDiskHangs: when a disk has hung for long, its former size is no longer shown, and no cure says to replace the disk.
func TestDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		s.run()
		time.Sleep(3*step + step/2) // between two questions
		synctest.Wait()
		if d := s.watch.Snapshot().Disks; len(d) != 1 || d[0].Total == 0 || d[0].Err != "" {
			t.Fatalf("%+v", d)
		}
		w := &s.watch.disks
		w.mu.Lock()
		w.busy[s.sp.Dir()] = time.Now() // a question that is not answered
		w.mu.Unlock()
		time.Sleep(patience / 2)
		if d := s.watch.Snapshot().Disks; d[0].Total == 0 || d[0].Err != "" {
			t.Errorf("after half a minute: %+v", d)
		}
		time.Sleep(patience / 2)
		snap := s.watch.Snapshot()
		if d := snap.Disks; len(d) != 1 || d[0].Total != 0 || d[0].Free != 0 || d[0].UntilFull != nil || d[0].Err != "the disk has not answered for 1m0s" {
			t.Errorf("after a minute: %+v", d)
		}
		if len(snap.Trouble) != 1 || snap.State != Warning || !strings.Contains(snap.Trouble[0].Cure, "Keep it") || strings.Contains(snap.Trouble[0].Cure, "replace") {
			t.Errorf("%+v", snap.Trouble)
		}
		var table strings.Builder
		check(t, snap.WriteTable(&table))
		if !strings.Contains(table.String(), "disk of vpn: size unknown: the disk has not answered") {
			t.Errorf("%s", &table)
		}
		w.mu.Lock()
		delete(w.busy, s.sp.Dir())
		w.mu.Unlock()
		time.Sleep(2 * step)
		if d := s.watch.Snapshot().Disks; d[0].Total == 0 || d[0].Err != "" {
			t.Errorf("it answers again: %+v", d)
		}
		s.stop()
	})
}
