package audit_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
)

// TestBegunMeanwhile audits while a chain begins at one place after that place's chains were listed, and its head arrives
// at the other place before that one's are: the chain is not missing.
func TestBegunMeanwhile(t *testing.T) {
	p := finished(t)
	before := p.clone()
	x := send(t, t.TempDir(), "vpn", "host", p.destinations(), nil)
	x.segments(2)
	x.finalize("idc", "s3")
	x.end()
	for _, deep := range []bool{false, true} {
		late := &listedBefore{Destination: p["s3"], now: p["s3"], then: before["s3"]}
		r, err := audit.Run(t.Context(), &audit.Options{Deep: deep, Places: []audit.Place{{Name: "idc", Destination: p["idc"]}, {Name: "s3", Destination: late}}})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, r, audit.Owed, audit.Absent, audit.Uncovered)
	}
}

// listedBefore answers the first listing as it was at an earlier time.
type listedBefore struct {
	ship.Destination
	now, then ship.Lister
	calls     atomic.Int32
}

func (l *listedBefore) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	if l.calls.Add(1) == 1 {
		return l.then.List(ctx, prefix)
	}
	return l.now.List(ctx, prefix)
}
