//go:build !linux

package main

import (
	"context"
	"errors"
)

// host has no volumes: EC2 attaches them to other systems too, but a reaper runs on the servers of a fleet.
type host struct{}

func newHost() host { return host{} }

func (host) Find(string) (string, error)                    { return "", errors.ErrUnsupported }
func (host) Probe(context.Context, string) (Content, error) { return Content{}, errors.ErrUnsupported }

func (host) Zero(context.Context, string, int64) (int64, bool, bool, error) {
	return 0, false, true, errors.ErrUnsupported
}
func (host) At(string) ([]string, error)         { return nil, errors.ErrUnsupported }
func (host) Mount(string, Content, string) error { return errors.ErrUnsupported }
func (host) Unmount(string, string) error        { return errors.ErrUnsupported }
func (host) Inodes(string) (uint64, bool, error) { return 0, false, errors.ErrUnsupported }
