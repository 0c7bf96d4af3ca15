package ship

import (
	"testing"

	"github.com/penstock-go/penstock/spool"
)

// TestBacklogFollows: a chain that another owner continues may cover segments that were not in the window.
func TestBacklogFollows(t *testing.T) {
	in := func(numbers ...uint64) (window []*delivery) {
		for _, n := range numbers {
			window = append(window, &delivery{seg: spool.Segment{Number: n}})
		}
		return window
	}
	for name, c := range map[string]struct {
		to     uint64
		window []*delivery
		want   backlog
	}{
		"past the window's":   {2, in(1, 2), backlog{seen: 9, n: 7}},
		"beyond the window":   {5, in(1, 2), backlog{seen: 5}},
		"without a window":    {5, nil, backlog{seen: 5}},
		"past what was known": {12, in(1, 2, 12), backlog{seen: 12}},
	} {
		b := backlog{seen: 9, n: 9}
		if b.follow(c.to, c.window); b != c.want {
			t.Errorf("%s: %+v, want %+v", name, b, c.want)
		}
	}
}
