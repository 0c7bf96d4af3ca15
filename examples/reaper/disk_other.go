//go:build !linux

package main

import (
	"context"
	"errors"

	"github.com/penstock-go/penstock/examples/reaper/internal/mounter"
)

// host has no volumes. EC2 attaches them to other systems too, but a reaper runs on the servers of a fleet.
type host struct{ mounter.Host }

func newHost() host { return host{mounter.NewHost()} }

func (host) Probe(context.Context, string) (Content, error) { return Content{}, errors.ErrUnsupported }

func (host) Zero(context.Context, string, int64) (int64, bool, bool, error) {
	return 0, false, true, errors.ErrUnsupported
}
func (host) Inodes(string, string) (uint64, bool, error) { return 0, false, errors.ErrUnsupported }
func (host) released(string) error                       { return errors.ErrUnsupported }
