package sftpship

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/sftpc"
)

const (
	// spaceEvery is how often a server is asked for its free space while there is enough. In between, what this Destination sends
	// is subtracted; the reserve is for what others write.
	spaceEvery = time.Minute
	// spaceReserve, or a hundredth of the file system if that is more, stays free, so that clean-up and other programs still have
	// room.
	spaceReserve = 64 << 20
)

var errNoSpace = errors.New("too little space on the server")

// space is what is known of the server's free space.
type space struct {
	mu    sync.Mutex
	until time.Time // when it has to be asked again
	total uint64
	free  uint64 // less what was sent since; meaningless if total is 0, that is if the server does not tell
}

// askSpace asks for the free space if that is due and possible; otherwise it returns nil.
func (u *upload) askSpace() *sftpc.Pending[sftpc.Space] {
	s := &u.h.space
	s.mu.Lock()
	defer s.mu.Unlock()
	if !u.Has("statvfs@openssh.com", "2") || time.Now().Before(s.until) {
		return nil
	}
	return u.StatVFS(u.h.place.dir)
}

// enough awaits the answer to askSpace, and refuses an object that would use up the reserve.
func (u *upload) enough(asked *sftpc.Pending[sftpc.Space]) error {
	s := &u.h.space
	if asked != nil {
		v, err := asked.Wait()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return u.h.noBase()
		case err != nil && !settled(err):
			return err
		}
		s.mu.Lock()
		s.until = time.Now().Add(spaceEvery)
		// A file system that does not know its space reports 0 of 0 blocks (FUSE without statfs).
		if s.total = 0; err == nil && v.Blocks > 0 {
			// What is left for an account that is not root.
			s.total, s.free = v.Blocks*v.BlockSize, v.Available*v.BlockSize
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total == 0 {
		return nil
	}
	size := uint64(u.o.Size)
	if keep := max(s.total/100, spaceReserve); s.free < keep+size {
		s.until = time.Time{} // ask again next time, so that new room is seen at once
		return fmt.Errorf("%w: %d MiB of %d MiB free in %s, the object has %d bytes and %d MiB stay free: make room there",
			errNoSpace, s.free>>20, s.total>>20, u.h.place.dir, u.o.Size, keep>>20)
	}
	s.free -= size
	return nil
}

// forget makes the next upload ask again.
func (s *space) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
}

// noRoom looks for the reason of a write that failed: SFTP version 3 has no status for a full disk.
func (u *upload) noRoom(err error) error {
	var status *sftpc.StatusError
	if !errors.As(err, &status) || !u.s.alive() || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	u.h.space.forget()
	if full := u.enough(u.askSpace()); errors.Is(full, errNoSpace) {
		return fmt.Errorf("%w (%w)", full, err)
	}
	return fmt.Errorf("%w (a full disk or quota there?)", err)
}
