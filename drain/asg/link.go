package asg

import (
	"context"
	"time"
)

// link connects a Lifecycle to the metadata service and the API, at the first call that succeeds.
type link struct {
	turn chan struct{} // holds a token: a lock that a context can end, since its holder uses the network

	// The holder of turn writes these; they do not change once instance is set.
	meta     Metadata
	service  Service
	instance string

	failure error // of the latest attempt, which ended at failed
	failed  time.Time
}

func newLink(o *Options) *link {
	return &link{turn: make(chan struct{}, 1), meta: o.Metadata, service: o.Service}
}

// get returns the metadata service, the API, and this instance's id. A call that has waited for the attempt of another
// call shares its failure: otherwise several calls would wait, one after the other, for a service that does not answer.
func (k *link) get(ctx context.Context) (Metadata, Service, string, error) {
	asked := time.Now()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, nil, "", ctx.Err()
	}
	if k.instance == "" && k.failed.After(asked) {
		return nil, nil, "", k.failure
	}
	if k.instance == "" {
		if err := k.find(ctx); err != nil {
			if ctx.Err() == nil { // otherwise the failure may be that of ctx
				k.failure, k.failed = err, time.Now()
			}
			return nil, nil, "", err
		}
	}
	return k.meta, k.service, k.instance, nil
}

func (k *link) find(ctx context.Context) error {
	if k.meta == nil {
		meta, service, err := connect(ctx)
		if err != nil {
			return err
		}
		k.meta, k.service = meta, service
	}
	id, err := k.meta.Get(ctx, "instance-id")
	if err != nil {
		return err
	}
	k.instance = id
	return nil
}

// answered reports whether the metadata service has ever answered this process.
func (k *link) answered(ctx context.Context) bool {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
		return k.instance != ""
	case <-ctx.Done():
		return false
	}
}
