package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAdoptReadOnly: a volume that is mounted read-only can be inspected and adopted; only the mark cannot be made.
func TestAdoptReadOnly(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := orphan(t, func(string) {})
	mount := t.TempDir()
	err := syscall.Mount(dir, mount, "", syscall.MS_BIND, "")
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") == "" {
		t.Skip("mounting is not permitted here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	}()
	if err := syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mount, "x"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("the mount is not read-only: %v", err)
	}
	in, err := Inspect(mount)
	if err != nil || in.Records != 47 {
		t.Fatalf("%+v, %v", in, err)
	}
	w := newWorld(Options{Destinations: []string{"a", "b"}})
	s, err := Adopt(mount, &AdoptOptions{Work: t.TempDir(), MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, dest := range w.opts.Destinations {
		if err := w.follow(t.Context(), s, dest); err != nil {
			t.Fatal(err)
		}
		if err := wantAll(w.objects[dest], 47); err != nil {
			t.Error(err)
		}
	}
	if err := s.Shelf().MarkAdopted(); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "mark the adopted spool") {
		t.Errorf("marking: %v", err)
	}
}
