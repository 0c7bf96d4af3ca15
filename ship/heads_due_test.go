package ship

import (
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool"
)

// TestHeadDue: whatever state a chain is in, either a head is due or there is time to wait. A chain that has been left, or
// that has no manifest yet, has no head to store, however long ago the last one was.
func TestHeadDue(t *testing.T) {
	old := spool.Chain{Epoch: 1, Next: 3, Through: 10}
	more := spool.Chain{Epoch: 1, Next: 4, Through: 20}
	final, left, fresh, taken := more, more, more, old
	final.Final = true
	left.Final, left.Left = true, true
	fresh.Next = 0
	taken.Spool = "another"
	for _, c := range []struct {
		name    string
		c, told spool.Chain
		since   time.Duration
		tell    bool
		after   time.Duration
	}{
		{"never told", more, spool.Chain{}, 1 << 40, true, 0},
		{"nothing new", old, old, time.Hour, false, headInterval},
		{"new and early", more, old, time.Minute, false, headInterval - time.Minute},
		{"new and late", more, old, time.Hour, true, 0},
		{"final and early", final, old, time.Second, true, 0},
		{"left and late", left, old, time.Hour, false, headInterval},
		{"left and early", left, old, time.Minute, false, headInterval},
		{"no manifest yet, and late", fresh, old, time.Hour, false, headInterval},
		{"under another name", taken, old, time.Hour, true, 0},
	} {
		tell, after := headDue(c.c, c.told, c.since)
		if tell != c.tell || after != c.after {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, tell, after, c.tell, c.after)
		}
		if !tell && after <= 0 {
			t.Errorf("%s: it would look again at once, and again", c.name)
		}
	}
}
