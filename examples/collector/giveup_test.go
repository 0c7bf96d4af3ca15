package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestGiveUp: the command lists damage and how to give it up. It gives records up only if they are not on record as damaged in
// another segment, and only with the confirmation that contains their number.
func TestGiveUp(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vpn")
	o := &spool.Options{Class: "vpn", Destinations: []string{"a"}, MaxBytes: 1 << 30, SegmentBytes: 64 << 10}
	s, err := spool.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("one")}, {Time: 2, Data: []byte("two")}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(path, "seg", "0000000000000001.seg")); err != nil {
		t.Fatal(err)
	}
	if s, err = spool.Open(path, o); err != nil {
		t.Fatal(err)
	}
	defer s.Close() // the command works while the spool is open
	base := []string{"-spool", dir, "-class", "vpn"}
	if x := s.Shelf().Damages(); len(x) != 1 {
		t.Fatalf("%+v", x)
	}
	number := s.Shelf().Damages()[0].Segment
	n, other := strconv.FormatUint(number, 10), strconv.FormatUint(number+7, 10)
	give := []string{"-segment", n, "-records", "1-2", "-confirm", "lose-2-records"}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 0, strings.Join(give, " ")},
		{[]string{"-segment", n, "-records", "1-2"}, exitUsage, "-confirm lose-2-records"},
		{[]string{"-segment", n, "-records", "1-2", "-confirm", "lose-3-records"}, exitUsage, "-confirm lose-2-records"},
		{[]string{"-segment", n, "-records", "1-3", "-confirm", "lose-3-records"}, exitUsage, "not on record"},
		{[]string{"-segment", n, "-records", "2-1", "-confirm", "lose-0-records"}, exitUsage, "ranges"},
		{[]string{"-segment", other, "-records", "1-2", "-confirm", "lose-2-records"}, exitUsage, "damaged in segment " + n + ", not in segment " + other},
		{[]string{"-segment", other, "-records", "3-4", "-confirm", "lose-2-records"}, 0, "no damage of segment " + other + " is on record"},
		{give, 0, "2 records are given up"},
		{nil, 0, "  given up\n"},
	} {
		var out strings.Builder
		if code := giveUp(append(base, c.args...), &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%v: code %d, %s", c.args, code, &out)
		}
	}
	if x := s.Shelf().Damages(); len(x) != 1 || !x[0].GivenUp || x[0].Records != 2 {
		t.Errorf("%+v", x)
	}
}

// TestGiveUpUnreadableNote: damage whose note cannot be read is listed with the files that are left of the segment, and with
// commands that acknowledge it and delete nothing.
func TestGiveUpUnreadableNote(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vpn")
	o := &spool.Options{Class: "vpn", Destinations: []string{"a"}, MaxBytes: 1 << 30, SegmentBytes: 64 << 10}
	s, err := spool.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("one")}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Seal(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	note, file := filepath.Join(path, "damaged", "0000000000000001.json"), filepath.Join(path, "seg", "0000000000000001.seg")
	if err := os.WriteFile(note, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if code := giveUp([]string{"-spool", dir, "-class", "vpn"}, &out, &out); code != 0 {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	elsewhere := t.TempDir()
	_, command, ok := strings.Cut(out.String(), "to acknowledge it: ")
	if !ok || strings.Contains(out.String(), "remove") || !strings.Contains(out.String(), file) {
		t.Fatalf("it says %q", out.String())
	}
	command = strings.ReplaceAll(command, "ELSEWHERE", "'"+elsewhere+"'")
	if b, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	for _, name := range []string{filepath.Base(note), filepath.Base(file)} {
		if _, err := os.Stat(filepath.Join(elsewhere, name)); err != nil {
			t.Error(err)
		}
	}
	if x, err := spool.ReadDamages(path); err != nil || len(x) != 0 {
		t.Errorf("still on record: %+v, %v", x, err)
	}
}
