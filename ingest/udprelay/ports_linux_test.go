package udprelay

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRoom: the soft limit of descriptors is raised to what the ports need. If the hard limit forbids that, the error has both
// numbers.
func TestRoom(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
	low := was
	low.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	if err := room(300); err != nil {
		t.Fatal(err)
	}
	var is unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &is); err != nil || is.Cur != 300+spare || is.Max != was.Max {
		t.Errorf("%+v, %v; want %d of %d", is, err, 300+spare, was.Max)
	}
	const more = 1 << 30 // than anybody may have: fs.nr_open
	err := room(more)
	if err == nil {
		t.Fatal("there is room for a thousand million descriptors")
	}
	for _, want := range []int{more + spare, int(was.Max), int(was.Max) - spare} {
		if !strings.Contains(err.Error(), fmt.Sprint(want)) {
			t.Errorf("%v: want %d in it", err, want)
		}
	}
}
