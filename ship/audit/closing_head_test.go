package audit_test

import (
	"testing"

	"github.com/penstock-go/penstock/ship/audit"
)

// TestClosingHidesNoHead: a head says what another place has. Even if the chain here is closed, those records stay owed until the
// other place is audited too.
func TestClosingHidesNoHead(t *testing.T) {
	p := places{"idc": newPlaces()["idc"]}
	c := newChain(t, p, "idc", nil).add(2, nil)
	c.dest = "colo"
	c.head(p["idc"], 10, false)
	wants(t, p.audit(t, deep), audit.Owed, audit.Behind)
	p.closeSpool(t, "vpn", c.spool, nil, "idc")
	wants(t, p.audit(t, deep), audit.Owed, audit.Behind)
}
