package shiptest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// RunLinks tests a destination whose objects are files of this host, below the directory that open returns. The destination
// must find them through symbolic links, as an operator leaves them after moving a day or a file to another disk, and must
// ignore a link that leads back up.
func RunLinks(t *testing.T, open func(t *testing.T) (d ship.Destination, dir string)) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege there")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d, root := open(t)
	l, ok := d.(ship.Lister)
	if !ok {
		t.Skip("not a ship.Lister")
	}
	s := &suite{T: t, ctx: ctx, d: d, dir: "links"}
	bodies := map[string][]byte{}
	for i, name := range []string{"dt=1/a", "dt=1/hour=2/b", "dt=2/c", "dt=2-x", "dt=3/d", "e"} {
		key := s.key(name)
		bodies[key] = random(100 + i)
		s.mustPut(key, bodies[key])
	}
	dir, cold := filepath.Join(root, "links"), t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dt=1", "dt=3/d", "e"} { // moved, and linked
		to := filepath.Join(cold, filepath.Base(name))
		do(os.Rename(filepath.Join(dir, name), to))
		do(os.Symlink(to, filepath.Join(dir, name)))
	}
	do(os.Symlink("..", filepath.Join(dir, "dt=2", "up")))
	do(os.Symlink(dir, filepath.Join(cold, "dt=1", "back"))) // up again, from where a link led
	do(os.Symlink(filepath.Dir(root), filepath.Join(dir, "dt=2", "out")))
	do(os.Symlink(filepath.Join(cold, "nothing"), filepath.Join(dir, "nothing")))

	for _, prefix := range []string{"", "dt=", "dt=1/", "dt=1/hour=2/", "dt=2", "e"} {
		var want, got []string
		for _, key := range slices.Sorted(maps.Keys(bodies)) {
			if full := s.key(prefix); len(key) >= len(full) && key[:len(full)] == full {
				want = append(want, fmt.Sprint(key, " ", len(bodies[key])))
			}
		}
		for e, err := range l.List(ctx, s.key(prefix)) {
			if err != nil {
				t.Fatalf("List(%q): %v", prefix, err)
			}
			got = append(got, fmt.Sprint(e.Key, " ", e.Size))
		}
		if !slices.Equal(got, want) {
			t.Errorf("List(%q):\n got %q\nwant %q", prefix, got, want)
		}
	}
	for key, b := range bodies {
		s.wantContent(key, b)
		s.mustPut(key, b) // it is there already
	}
	s.wantAbsent(s.key("nothing"))
}
