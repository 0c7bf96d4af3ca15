package asg

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/internal/backlog"
)

// protect keeps the group from choosing this instance for a scale-in while its backlog exceeds Options.ProtectAbove: a
// group that scales in takes another one instead, and this one only when it has little left to deliver. protect sets or
// removes the protection once at the start, since the setting of an earlier process is unknown, and then at each change.
//
// A drain does not change the protection: either the group has chosen this instance, or something else has triggered the
// drain. After a Stop the backlog is still on the volume.
func (l *Lifecycle) protect(ctx context.Context, pending uint64) {
	if l.o.ProtectAbove == 0 || time.Now().Before(l.protectNext) {
		return
	}
	l.mu.Lock()
	before, set := l.protected, l.protectSet
	l.mu.Unlock()
	on := backlog.Large(before, pending, uint64(l.o.ProtectAbove))
	if on == before && set {
		return
	}
	err := l.setProtection(ctx, on)
	if err != nil {
		l.protectNext = time.Now().Add(l.o.Retry)
		if ctx.Err() == nil && time.Since(l.protectWarned) > time.Minute {
			l.protectWarned = time.Now()
			l.log.Warn("asg: scale-in protection cannot be changed; will retry, and meanwhile the group may choose this instance: check network and permissions (autoscaling:SetInstanceProtection)", "on", on, "pending_bytes", pending, "again_in", l.o.Retry, "err", err)
		}
		return
	}
	l.log.Info("asg: scale-in protection", "on", on, "pending_bytes", pending)
}

// unprotect removes the protection of an instance that the operator has drained by hand, and that has nothing left to
// deliver.
func (l *Lifecycle) unprotect(ctx context.Context, r *drain.Report) error {
	l.mu.Lock()
	on := l.protected
	l.mu.Unlock()
	if !on || !verified(r) {
		return nil
	}
	return l.setProtection(ctx, false)
}

func (l *Lifecycle) setProtection(ctx context.Context, on bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, service, id, err := l.link.get(ctx)
	if err != nil {
		return err
	}
	p, ok := service.(Protector)
	if !ok {
		return fmt.Errorf("asg: Options.Service %T cannot protect an instance: it does not implement Protector", service)
	}
	inst, err := service.Instance(ctx, id)
	if err != nil {
		return err
	}
	if inst.Group == "" {
		return noGroup(service, id)
	}
	if err := p.Protect(ctx, inst.Group, id, on); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.protected, l.protectSet = on, true
	return nil
}
