package ship_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

// TestFailureOf: each failure has the most specific kind.
func TestFailureOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want ship.Failure
	}{
		{errors.New("connection refused"), ship.FailureTransient},
		{ship.Permanent(errors.New("access denied")), ship.FailureRefused},
		{ship.Permanent(fmt.Errorf("host key changed: %w", ship.ErrIdentity)), ship.FailureIdentity},
		{fmt.Errorf("x: %w", ship.ErrConflict), ship.FailureConflict},
		{fmt.Errorf("x: %w", ship.ErrFenced), ship.FailureFenced},
		{fmt.Errorf("x: %w", ship.ErrVerify), ship.FailureVerify},
		{fmt.Errorf("staging segment 1: %w", spool.ErrFull), ship.FailureFull},
	} {
		if got := ship.FailureOf(fmt.Errorf("around: %w", c.err)); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
}
