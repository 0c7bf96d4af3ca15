package udprelay

import (
	"testing"
	"time"
)

const listed = `table inet penstock_relay {
	counter in {
		packets 100 bytes 54000
	}
	counter no_target {
		packets 3 bytes 90
	}
	counter out_10.0.2.1_514 {
		packets 50 bytes 1
	}
	counter out_fd00--1_514 {
		packets 40 bytes 1
	}
}
`

func TestCounting(t *testing.T) {
	counters, err := parseCounters([]byte(listed))
	if err != nil || len(counters) != 4 {
		t.Fatalf("%v, %v", counters, err)
	}
	want := func(a *Account, in, out, noTarget, unforwarded, passing uint64) {
		t.Helper()
		if a.In != in || a.Sent() != out || a.Dropped[NoTarget] != noTarget || a.Dropped[Unforwarded] != unforwarded || a.Passing != passing || !a.Balanced() {
			t.Errorf("%+v: want %d in, %d out, %d, %d, %d", a, in, out, noTarget, unforwarded, passing)
		}
	}
	now := time.Unix(1000, 0)
	c := newCounting()
	want(c.account(), 0, 0, 0, 0, 0)
	c.note(counters, now)
	want(c.account(), 100, 90, 3, 0, 7) // they may be on their way
	counters = map[string]uint64{"in": 200, "no_target": 3, "out_10.0.2.1_514": 195}
	c.note(counters, now.Add(3*time.Second)) // and most were
	c.note(counters, now.Add(5*time.Second))
	want(c.account(), 200, 195, 3, 2, 0)
	counters = map[string]uint64{"in": 300, "no_target": 3, "out_10.0.2.1_514": 320}
	c.note(counters, now.Add(6*time.Second)) // "in" is older than the others
	want(c.account(), 323, 320, 3, 0, 0)
	counters = map[string]uint64{"in": 400, "no_target": 3, "out_10.0.2.1_514": 390}
	c.note(counters, now.Add(20*time.Second))
	want(c.account(), 400, 390, 3, 2, 5)
	c.settle()
	want(c.account(), 400, 390, 3, 7, 0)
	c.restart() // the table was made again
	want(c.account(), 400, 390, 3, 7, 0)
	c.note(map[string]uint64{"in": 5, "no_target": 0, "out_10.0.2.1_514": 5}, now.Add(30*time.Second))
	want(c.account(), 405, 395, 3, 7, 0)
	c.note(map[string]uint64{"in": 2, "no_target": 0, "out_10.0.2.1_514": 2}, now.Add(31*time.Second)) // nft reset counters
	want(c.account(), 407, 397, 3, 7, 0)
}

// TestUnfinishedUnknown: where the kernel's counter cannot be read any more, the account does not wrap around.
func TestUnfinishedUnknown(t *testing.T) {
	c := newCounting()
	c.unfinished = 1 << 60
	if n := c.account().Unfinished; n != 0 {
		t.Errorf("%d unfinished", n)
	}
}

func TestParsePorts(t *testing.T) {
	first, last, ok := parsePorts([]byte("\t\tudp sport set numgen inc mod 24576 offset 16384 << 16\n"))
	if !ok || first != 16384 || last != 40959 {
		t.Error(first, last, ok)
	}
	if _, _, ok := parsePorts([]byte("numgen inc mod 3 vmap { 0 : goto to4_0 }")); ok {
		t.Error("a table without ports has ports")
	}
}
