package ship

import (
	"context"
	"errors"
	"testing"
)

// A Verification reports why the first question had no answer, not that the others were cancelled because of it.
func TestVerifyNamesTheCause(t *testing.T) {
	v := &verifier{l: &lane{s: &Shipper{o: Options{Workers: 4}}}}
	denied := errors.New("denied")
	v.askAll(t.Context(), func(send func(int, question)) {
		for range 3 {
			send(1, func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
		}
		send(1, func(context.Context) error { return denied })
	})
	if !errors.Is(v.Err, denied) {
		t.Errorf("%v, want %v", v.Err, denied)
	}
}
