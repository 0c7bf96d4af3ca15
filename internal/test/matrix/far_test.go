package matrix

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestFarDrain: 100 small objects over lines whose round trip takes 0.6 s, to a datacenter and a store that nothing is connected
// to yet, are delivered, verified and closed within a minute. It takes most of that, and so runs where PENSTOCK_FAR is set to the
// number of objects.
func TestFarDrain(t *testing.T) {
	objects, err := strconv.Atoi(os.Getenv("PENSTOCK_FAR"))
	if err != nil {
		t.Skip("set PENSTOCK_FAR=100")
	}
	r := newRig(t, setup{})
	r.net.SetDelay(300 * time.Millisecond)
	r.s3net.SetDelay(300 * time.Millisecond)
	r.text(objects, 3)
	if err := r.sp.Shelf().Freeze("as a drain does, so that everything is verified"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	r.start()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, name := range []string{"s3", "idc"} { // the faster one first
		r.delivered(name)
		t.Logf("%d objects delivered to %s after %v", objects, name, time.Since(begin))
	}
	if err := r.sh.Flush(ctx); err != nil {
		t.Fatalf("Flush: %v", err)
	}
	t.Logf("%d objects delivered after %v", objects, time.Since(begin))
	if _, err := r.sh.Verify(ctx); err != nil {
		t.Errorf("Verify: %v", err)
	}
	t.Logf("verified after %v", time.Since(begin))
	for name := range r.dests {
		if err := r.sh.Finalize(ctx, name); err != nil {
			t.Errorf("Finalize: %v", err)
		}
	}
	took := time.Since(begin)
	t.Logf("closed after %v", took)
	if took > time.Minute {
		t.Errorf("a drain of %d objects takes %v, want a minute at most", objects, took)
	}
	r.stop()
	r.proven()
}
