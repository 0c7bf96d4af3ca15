package spool_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// FuzzDirectory reads, verifies and plans the repair of a spool in which one file holds anything. Nothing panics, hangs, or changes a
// file, and a plan that can be carried out is.
func FuzzDirectory(f *testing.F) {
	host := spool.NewMemHost()
	o := &spool.Options{Class: "vpn", Destinations: []string{"idc"}, Sync: spool.SyncAlways}
	sp, err := host.Open(noFault, nil, o)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 4 {
		if _, err := sp.Append(f.Context(), []segment.Record{{Time: 1, Data: record(uint64(i + 1))}}); err != nil {
			f.Fatal(err)
		}
		if i%2 == 1 && i < 3 {
			if err := sp.Seal(f.Context()); err != nil {
				f.Fatal(err)
			}
		}
	}
	if err := sp.Close(); err != nil {
		f.Fatal(err)
	}
	scene := &matrixScene{host: host}
	files := scene.list("/spool")
	for i, path := range files {
		b := scene.read(path)
		f.Add(uint8(i), b[:min(len(b), 6000)])
		f.Add(uint8(i), slices.Concat(b[:len(b)/2], []byte("x")))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		s := &matrixScene{host: host.Crash(vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept})}
		s.write(files[int(which)%len(files)], data)
		before := s.snapshot()
		_, list, err := s.host.ReadDirectory()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			r, err := s.host.OpenSegment(x)
			if err != nil {
				continue
			}
			for n := 0; n < 1000; n++ {
				if _, _, err := r.Next(); err == io.EOF || err != nil && !errors.Is(err, segment.ErrCorrupt) {
					break
				}
			}
			_ = r.Close()
		}
		p, err := s.host.PlanRepair(noFault, nil)
		if err != nil {
			t.Skip(err) // of a newer version
		}
		for path, b := range before {
			if string(s.read(path)) != string(b) {
				t.Fatalf("%s has changed", path)
			}
		}
		if p.Refused != "" {
			return
		}
		if _, err := p.Apply(); err != nil {
			t.Fatalf("%+v: %v", p.Changes, err)
		}
		s.lostNothing(t, before)
	})
}
