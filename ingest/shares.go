package ingest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/penstock-go/penstock/internal/limits"
)

// shares divides the descriptors and the memory of this process among its stream listeners. Each listener may use an
// equal share, so that the connections of one listener, and so of one class or one remote host, take nothing from
// another. The rest is for spools, shippers, status pages and so on.
type shares struct {
	conns int   // that all listeners together may have; 0: no limit
	large int64 // bytes for large frames of all listeners; 0: no limit
	why   string

	mu        sync.Mutex
	listeners int
	open      int // connections of all listeners
}

const (
	// reserved is the least number of descriptors that are not for connections.
	reserved = 64
	// connMemory is the memory of a connection without large frames: its read buffer, its batch, and TLS.
	connMemory = smallBuffer + 64<<10 + 32<<10
)

// errNoShare: there are too few descriptors to divide.
var errNoShare = errors.New("ingest: no descriptors are left for connections")

// newShares reserves a quarter of the descriptors, at least 64, for other uses. Connections may use a quarter of the
// memory, and large frames another quarter.
func newShares(descriptors int, memory int64) *shares {
	s := &shares{}
	if descriptors > 0 {
		s.conns, s.why = max(1, descriptors-max(reserved, descriptors/4)), fmt.Sprintf("RLIMIT_NOFILE is %d: raise it (ulimit -n, LimitNOFILE=)", descriptors)
		if descriptors <= reserved {
			s.conns = -1
		}
	}
	if memory > 0 {
		s.large = memory / 4
		if n := int(min(max(1, memory/4/connMemory), 1<<30)); s.conns == 0 || n < s.conns {
			s.conns, s.why = n, fmt.Sprintf("this process may use %d MiB of memory", memory>>20)
		}
	}
	return s
}

// ofProcess returns the shares of all listeners of this process, from its limits at the time when the first listener is
// made.
var ofProcess = sync.OnceValue(func() *shares { return newShares(limits.Descriptors(), limits.Memory()) })

// join adds a listener, which must call leave.
func (s *shares) join() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns < 0 {
		return fmt.Errorf("%w: %s", errNoShare, s.why)
	}
	s.listeners++
	return nil
}

func (s *shares) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners--
}

// most returns how many connections a listener with the limit max may have.
func (s *shares) most(max int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mostOf(max)
}

// mostOf is most; s.mu is held.
func (s *shares) mostOf(most int) int {
	if s.conns > 0 {
		most = min(most, max(1, s.conns/max(1, s.listeners)))
	}
	return most
}

// acquire counts a further connection of a listener that has so many already; false if that is one too many. The sum is
// bounded as well: a listener that is made later can use its share only as the others close connections.
func (s *shares) acquire(have, max int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have >= s.mostOf(max) || s.conns > 0 && s.open >= s.conns {
		return false
	}
	s.open++
	return true
}

func (s *shares) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// largest returns how many bytes of large frames a listener may have.
func (s *shares) largest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.large == 0 {
		return 1 << 62
	}
	return s.large / int64(max(1, s.listeners))
}
