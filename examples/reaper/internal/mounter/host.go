package mounter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Host accesses the devices and mounts of this host.
type Host struct {
	Sys  string // /sys
	Proc string // /proc
	// Serial returns the serial number of a block device. Tests, whose devices have none, replace it.
	Serial func(h Host, name string) (string, error)
}

// NewHost returns the host that this process runs on.
func NewHost() Host { return Host{"/sys", "/proc", nvmeSerial} }

// nvmeSerial returns the volume id, which EC2 sets as the serial number of an NVMe device; "" for other devices.
func nvmeSerial(h Host, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(h.Sys, "class/block", name, "device/serial"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	s := strings.TrimSpace(string(b))
	if id, ok := strings.CutPrefix(s, "vol"); ok && !strings.HasPrefix(id, "-") {
		s = "vol-" + id
	}
	return s, err
}

// Find returns the device of a volume. It recognises the device by its serial number, never by the name under which it was
// attached. fs.ErrNotExist: there is none (yet).
func (h Host) Find(volume string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(h.Sys, "class/block"))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(h.Sys, "class/block", e.Name(), "partition")); err == nil {
			continue
		}
		if s, err := h.Serial(h, e.Name()); err != nil || s == volume {
			return "/dev/" + e.Name(), err
		}
	}
	return "", fmt.Errorf("no device of %s: %w", volume, fs.ErrNotExist)
}
