package ship_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
)

// TestCloneRace: two instances of one name on two copies of a volume deliver different records under the same numbers at the
// same time, to a directory, OpenSSH and a real S3 server. The destination decides which of them continues the chain; the
// other one delivers under an identity of its own.
func TestCloneRace(t *testing.T) {
	for _, kind := range []string{"file", "sftp", "s3"} {
		t.Run(kind, func(t *testing.T) {
			var url string
			switch kind {
			case "file":
				url = "file://" + filepath.ToSlash(t.TempDir())
			case "sftp":
				url = testserver.StartSSHD(t).URL("race")
			case "s3":
				endpoint, access, secret := testserver.S3(t)
				t.Setenv("AWS_ACCESS_KEY_ID", access)
				t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
				url = fmt.Sprintf("s3://%s/race?endpoint=%s&region=us-east-1&path_style=true", testserver.Bucket, endpoint)
			}
			for _, before := range []int{0, 2} {
				cloneRace(t, url, before)
			}
		})
	}
}

func cloneRace(t *testing.T, url string, before int) {
	t.Helper()
	open := func() destinations {
		d, err := open.Destination(t.Context(), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := d.(io.Closer); ok {
			t.Cleanup(func() { _ = c.Close() })
		}
		return destinations{"s3": d}
	}
	first := open()
	b := newBench(t, first)
	b.segments(before, 10)
	if before > 0 {
		b.ship(first)
		b.flush()
	}
	b.close()
	clone := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(clone, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, dir := range []string{b.dir, clone} {
		d := open() // a connection of its own, as in another process
		x := openBench(t, dir, d, "host-a")
		x.next += 1000 * i
		x.segments(6, 10)
		x.ship(d, quick)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			errs[i] = x.s.Flush(ctx)
			if err := x.stop(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Errorf("%d segments before: Flush: %v", before, err)
		}
	}
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Destination: first["s3"]}}, Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		// Objects of the instance that lost are in no manifest: they are ahead of the chain or beside it.
		if f.Code != audit.Open && f.Code != audit.Uncovered && f.Code != audit.ObjectUnknown {
			t.Errorf("%d segments before: %+v", before, f)
		}
	}
}
