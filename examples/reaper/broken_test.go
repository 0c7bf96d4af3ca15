package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// sick is a set of disks that return errors or partial results.
type sick struct {
	*desk
	probe  func() (Content, error)
	zero   func(from int64) (next int64, done, zero bool, err error)
	inodes error
}

func (s *sick) Probe(context.Context, string) (Content, error) { return s.probe() }

func (s *sick) Zero(_ context.Context, _ string, from int64) (int64, bool, bool, error) {
	return s.zero(from)
}

func (s *sick) Inodes(string, string) (uint64, bool, error) { return 0, true, s.inodes }

func newSick(t *testing.T) *sick {
	s := &sick{desk: newDesk(t)}
	s.probe = func() (Content, error) { return Content{}, nil }
	s.Disks, s.Files = s, s
	return s
}

// TestBrokenDisk: a volume whose disk cannot be read is released after a while, so that it does not keep others from being
// adopted.
func TestBrokenDisk(t *testing.T) {
	eio := errors.New("input/output error")
	for name, set := range map[string]func(*sick){
		"blkid":        func(s *sick) { s.probe = func() (Content, error) { return Content{}, eio } },
		"reading":      func(s *sick) { s.zero = func(from int64) (int64, bool, bool, error) { return from, false, true, eio } },
		"second blkid": func(s *sick) { s.probe, s.zero = failsSecond(eio), allZero },
		"inodes": func(s *sick) {
			s.probe, s.inodes = func() (Content, error) { return Content{FileSystem: "ext4"}, nil }, eio
		},
	} {
		s := newSick(t)
		set(s)
		s.old("vol-1")
		v := s.passes(t, "vol-1", 5)
		if v.Attached == nil || v.Tags[tagState] != adopting || !strings.Contains(v.Tags[tagReason], "unreadable: ") {
			t.Errorf("%s: %+v", name, v)
		}
		s.clock = s.clock.Add(s.Patience)
		if v = s.passes(t, "vol-1", 5); v.Attached != nil || v.Tags[tagState] != kept || !strings.Contains(v.Tags[tagReason], "input/output error") {
			t.Errorf("%s: after a while: %+v", name, v)
		}
	}
}

func allZero(int64) (int64, bool, bool, error) { return 1, true, true, nil }

// failsSecond fails every second time.
func failsSecond(err error) func() (Content, error) {
	n := 0
	return func() (Content, error) {
		if n++; n%2 == 0 {
			return Content{}, err
		}
		return Content{}, nil
	}
}

// TestReadAnew: the result of reading a volume is valid only while it stays attached, since others may write to it afterwards.
func TestReadAnew(t *testing.T) {
	s := newSick(t)
	var from []int64
	s.zero = func(at int64) (int64, bool, bool, error) {
		from = append(from, at)
		return at + 10, false, true, nil
	}
	s.old("vol-1")
	s.passes(t, "", 5)
	if n := len(from); n < 2 || from[n-1] == 0 {
		t.Fatalf("read from %v", from)
	}
	v := s.volumes["vol-1"]
	v.Attached, v.State = nil, "available" // by an operator, who writes to it
	from = nil
	s.passes(t, "", 3)
	if len(from) == 0 || from[0] != 0 {
		t.Errorf("attached again, and read from %v", from)
	}
	// Between two passes, so that the reaper does not see it detached.
	v.Attached.Since = s.clock
	from = nil
	s.passes(t, "", 1)
	if len(from) != 1 || from[0] != 0 {
		t.Errorf("attached by others, and read from %v", from)
	}
	delete(s.volumes, "vol-1")
	s.passes(t, "", 1)
	if len(s.zeros)+len(s.last) != 0 {
		t.Errorf("of a volume that is gone it remembers %v %v", s.zeros, s.last)
	}
}

// TestFileSystemMeanwhile: a volume that was all zero but no longer is, is not deleted, and the log says so.
func TestFileSystemMeanwhile(t *testing.T) {
	s := newSick(t)
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	s.zero = allZero
	n := 0
	s.probe = func() (Content, error) {
		if n++; n > 1 {
			return Content{Signature: "swap"}, nil
		}
		return Content{}, nil
	}
	s.old("vol-1")
	if v := s.passes(t, "vol-1", 5); v == nil || v.Tags[tagState] != kept || !strings.Contains(log.String(), "blkid finds something on it now") {
		t.Errorf("%+v\n%s", v, &log)
	}
}
