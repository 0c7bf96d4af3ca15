package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// errTest is what a destination fails with.
var errTest = errors.New("a test lets it fail")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is one class with a destination that works and one that faults can be planned for.
type service struct {
	t       *testing.T
	dir     string
	sp      *spool.Spool
	drainer *drain.Drainer
	watch   *Watch
	faults  *shiptest.FaultyDestination
}

func newService(t *testing.T, plan shiptest.Plan) *service {
	t.Helper()
	s := &service{t: t, dir: t.TempDir()}
	s.faults = shiptest.Faulty(shiptest.Memory(), plan)
	var err error
	s.sp, err = spool.Open(filepath.Join(s.dir, "vpn"), &spool.Options{
		Class: "vpn", Destinations: []string{"idc", "s3"}, SegmentBytes: 64 << 10, SegmentAge: 5 * time.Second, MaxBytes: 256 << 20,
	})
	check(t, err)
	sh, err := ship.New(s.sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": shiptest.Memory(), "s3": s.faults}})
	check(t, err)
	s.drainer, err = drain.New(&drain.Options{Dir: s.dir, Instance: "edge-1"})
	check(t, err)
	check(t, s.drainer.Add(drain.Class{Shipper: sh}))
	s.watch, err = New(&Options{Drainer: s.drainer, Program: "test", Version: "v1.2.3"})
	check(t, err)
	return s
}

// run watches until the test ends.
func (s *service) run() {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.watch.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		check(s.t, <-ended)
	})
}

// stop ends the service.
func (s *service) stop() {
	_, err := s.drainer.Stop(context.Background(), "the end of the test")
	check(s.t, err)
}

func (s *service) append(n, size int) {
	s.t.Helper()
	var batch []segment.Record
	for i := range n {
		batch = append(batch, segment.Record{Time: time.Now().UnixNano(), Data: fmt.Appendf(nil, "%0*d", size, i)})
	}
	_, err := s.sp.Append(context.Background(), batch)
	check(s.t, err)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSnapshot: the balance of a class closes in the snapshot, and a destination that fails is named with its cure.
func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := errors.New("PUT https://AKIAIOSFODNN7EXAMPLE:hunter2@s3.example/?X-Amz-Signature=abcdef: connection refused")
		s := newService(t, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(secret) })
		s.run()
		s.append(100, 50)
		time.Sleep(30 * time.Second)
		snap := s.watch.Snapshot()
		c := snap.Classes[0]
		if c.Class != "vpn" || c.Balance.Kept.Records != 100 || len(c.Destinations) != 2 {
			t.Fatalf("%+v", c)
		}
		idc, s3 := c.Destinations[0], c.Destinations[1]
		if idc.State != ship.StateOK || idc.Delivered.Records != 100 || idc.Pending.Records != 0 || *idc.Lag != 0 || idc.Chain.Hash == "" {
			t.Errorf("idc: %+v", idc)
		}
		if s3.State != ship.StateRetrying || s3.Delivered.Records != 0 || s3.Pending.Records != 100 || s3.Cure == "" || *s3.Lag < 29 {
			t.Errorf("s3: %+v", s3)
		}
		if snap.State != Warning || !slices.ContainsFunc(snap.Trouble, func(x Trouble) bool { return x.Destination == "s3" && x.Cure != "" }) {
			t.Errorf("state %s, trouble %+v", snap.State, snap.Trouble)
		}
		b, err := json.Marshal(snap)
		check(t, err)
		for _, secret := range []string{"hunter2", "AKIAIOSFODNN7EXAMPLE", "abcdef"} {
			if strings.Contains(string(b), secret) {
				t.Errorf("the snapshot has the secret %q: %s", secret, b)
			}
		}
		if len(snap.Disks) != 1 || snap.Disks[0].Total <= 0 {
			t.Errorf("disks %+v", snap.Disks)
		}
		s.stop()
	})
}
