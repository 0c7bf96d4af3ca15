package audit_test

import (
	"testing"

	"github.com/penstock-go/penstock/ship/audit"
)

func TestComplete(t *testing.T) {
	p := finished(t)
	for _, change := range []func(*audit.Options){func(*audit.Options) {}, deep} {
		r := p.audit(t, change)
		wants(t, r, audit.Complete)
		if len(r.Chains) != 8 || r.Objects != 2*(6+5+4+15) {
			t.Errorf("%d chains, %d objects", len(r.Chains), r.Objects)
		}
	}
}

func TestOwed(t *testing.T) {
	p := finished(t)
	running(t, p)
	wants(t, p.audit(t, deep), audit.Owed, audit.Open, audit.Behind)
}
