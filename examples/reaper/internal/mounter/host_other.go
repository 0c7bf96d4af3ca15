//go:build !linux

package mounter

import "errors"

// At is for Linux only, like everything that changes mounts.
func (Host) At(string) ([]string, error) { return nil, errors.ErrUnsupported }

func (Host) mount(_, _, _ string) error { return errors.ErrUnsupported }
func (Host) unmount(_, _ string) error  { return errors.ErrUnsupported }
