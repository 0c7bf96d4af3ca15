package ingest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/spool/segment"
)

// refuse makes system calls for receiving fail with an error until the end of the test.
func refuse(t *testing.T, errno unix.Errno, calls ...string) {
	before := slices.Clone(recvCalls)
	t.Cleanup(func() { recvCalls = before })
	recvCalls = slices.Clone(recvCalls)
	for i := range recvCalls {
		if slices.Contains(calls, recvCalls[i].name) {
			recvCalls[i].recv = func(uintptr, *[batch]mmsghdr, uintptr) (int, unix.Errno) { return 0, errno }
		}
	}
}

// If recvmmsg(2) is refused, only speed is lost: lengths, sources, arrival times and the datagrams of aggregates are the
// same.
func TestRecvmmsgRefused(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP} {
		for _, when := range []string{"from the start", "later"} {
			t.Run(fmt.Sprint(errno, " ", when), func(t *testing.T) {
				if when == "from the start" {
					refuse(t, errno, "recvmmsg")
				}
				u := listenUDP(t, &UDPOptions{MaxRecord: 1000, GRO: true})
				if when == "later" {
					refuse(t, errno, "recvmmsg")
				}
				s := newSink()
				wait := serve(t, u, s)
				c := dialUDP(t, u)
				for _, n := range []int{0, 1, 1000, 1001, 5} {
					send(t, c, make([]byte, n))
				}
				control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 10) })
				send(t, c, make([]byte, 95))
				shutdown(t, u)
				wait()
				if s.n != 4+10 || s.bytes != 1006+95 || lostRecords(&s.acct.Lost) != 1 {
					t.Errorf("kept %d records, %d bytes, lost %d", s.n, s.bytes, lostRecords(&s.acct.Lost))
				}
				if s.recs[0].Src.Addr().String() != "127.0.0.1" {
					t.Errorf("from %v", s.recs[0].Src)
				}
				s.balance(t, u.Stats())
			})
		}
	}
}

// A listener that could not receive does not start.
func TestReceivingRefused(t *testing.T) {
	refuse(t, unix.EPERM, "recvmmsg", "recvmsg")
	_, err := ListenUDP("127.0.0.1:0", nil)
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "seccomp") {
		t.Errorf("started: %v", err)
	}
}

// A listener that cannot receive any more is not ready, and its Shutdown returns an error.
func TestReceivingRefusedLater(t *testing.T) {
	u := listenUDP(t, nil)
	refuse(t, unix.EPERM, "recvmmsg", "recvmsg")
	s := newSink()
	wait := serve(t, u, s)
	send(t, dialUDP(t, u), []byte("unread"))
	for err := u.Ready(); err == nil || errors.Is(err, errNotServing); err = u.Ready() {
		runtime.Gosched()
	}
	if err := u.Shutdown(t.Context()); err == nil {
		t.Error("Shutdown says that all is well")
	}
	wait()
	if n := u.Stats().Lost; lostRecords(&n) == 0 {
		t.Error("what was queued is not accounted for")
	}
	s.balance(t, u.Stats())
}

// The count of queued datagrams that cannot be read is an upper bound, even if most of them are in aggregates.
func TestReceivingRefusedAggregates(t *testing.T) {
	u := listenUDP(t, &UDPOptions{GRO: true})
	refuse(t, unix.EPERM, "recvmmsg", "recvmsg")
	s := newSink()
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	const size, each, aggregates = 8, 64, 10
	control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size) })
	for range aggregates {
		send(t, c, make([]byte, size*each))
	}
	if err := u.Shutdown(t.Context()); err == nil {
		t.Error("Shutdown says that all is well")
	}
	wait()
	if l := u.Stats().Lost[segment.GivenUp]; l.Records < each*aggregates || !l.AtMost {
		t.Errorf("%+v of %d datagrams is no upper bound", l, each*aggregates)
	}
	s.balance(t, u.Stats())
}
