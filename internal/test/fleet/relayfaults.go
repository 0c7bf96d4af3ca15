//go:build linux

package fleet

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// relays makes everything happen that a relay must survive, under load: restarts, and lists that cannot be used, which cost no
// datagram; then two mistakes of others that cost datagrams, which must be in the relay's account.
func (r *Run) relays(ctx context.Context) error {
	for i, relay := range []*Relay{r.heavy, r.spray} {
		sig := syscall.SIGTERM
		if i == r.plan.RelayKilled {
			sig = syscall.SIGKILL
		}
		if err := r.restartRelay(ctx, relay, sig); err != nil {
			return err
		}
	}
	for _, relay := range []*Relay{r.heavy, r.spray} {
		if err := r.breakList(ctx, relay); err != nil {
			return err
		}
	}
	return errors.Join(r.drainAll(ctx), r.refuseSome(ctx))
}

// restartRelay ends a relay and starts it again after a while, in which the kernel forwards alone.
func (r *Run) restartRelay(ctx context.Context, relay *Relay, sig syscall.Signal) error {
	if err := relay.end(sig); err != nil {
		return err
	}
	if err := r.pause(ctx, r.form.Unit/2); err != nil {
		return err
	}
	if err := relay.start(); err != nil {
		return err
	}
	r.happened("relay restart", "%s is ended (%v) and started again", relay.name, sig)
	return nil
}

// breakList gives a relay a list with a mistake for a while.
func (r *Run) breakList(ctx context.Context, relay *Relay) error {
	if err := relay.write("10.250.3.11:514\nnonsense\n"); err != nil {
		return err
	}
	troubled := func(want bool) error {
		return until(r.patience(), func() error {
			st, err := relay.page("/status.json")
			if err == nil && len(st.Trouble) > 0 != want {
				err = fmt.Errorf("%s: trouble %q", relay.name, st.Trouble)
			}
			return err
		})
	}
	if err := troubled(true); err != nil {
		return err
	}
	if err := r.pause(ctx, r.form.Unit/2); err != nil {
		return err
	}
	relay.mu.Lock()
	err := relay.changed()
	relay.mu.Unlock()
	if err = errors.Join(err, troubled(false)); err != nil {
		return err
	}
	r.happened("relay list broken", "%s had a broken list for a while", relay.name)
	return nil
}

// drainAll lets the list of heavy say for a moment that its only target drains: it has nowhere to send to.
func (r *Run) drainAll(ctx context.Context) error {
	balancer := r.front("udp-vpn").addr.Addr()
	if err := r.heavy.use(balancer, true); err != nil {
		return err
	}
	err := until(r.patience(), func() error {
		st, err := r.heavy.page("/status.json")
		if err == nil && st.Account.Dropped[udprelay.NoTarget] == 0 {
			err = errors.New("no datagram is dropped though there is no target")
		}
		return err
	})
	if err = errors.Join(err, r.heavy.use(balancer, false), until(r.patience(), func() error { return r.heavy.usesAll(1) })); err != nil {
		return err
	}
	r.happened("relay drop", "the list of %s had no target for a moment", r.heavy.name)
	return ctx.Err()
}

// refuseSome lets a rule on the machine of spray drop what spray forwards.
func (r *Run) refuseSome(ctx context.Context) error {
	if err := r.spray.refuse(true); err != nil {
		return err
	}
	err := r.pause(ctx, r.form.Unit)
	if err = errors.Join(err, until(r.patience(), func() error {
		if k, err := counts(r.spray.ns); err != nil || k.Refused == 0 {
			return errors.Join(err, errors.New("the rule refuses nothing"))
		}
		return nil
	}), r.spray.refuse(false)); err != nil {
		return err
	}
	r.happened("relay drop", "a rule on the machine of %s dropped some datagrams", r.spray.name)
	return nil
}
