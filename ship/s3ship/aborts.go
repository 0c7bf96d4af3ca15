package s3ship

import (
	"context"
	"sync"
)

// maxAborts bounds how many uploads are remembered; a sweep finds the others.
const maxAborts = 64

// aborts remembers the multipart uploads of this process that could not be aborted, so that their parts are not stored, and
// paid for, until a sweep finds them a day later.
type aborts struct {
	mu   sync.Mutex
	left map[string]string // upload id to full key
}

func (a *aborts) add(full, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left == nil {
		a.left = map[string]string{}
	}
	if len(a.left) < maxAborts {
		a.left[id] = full
	}
}

// take returns an upload, and forgets it.
func (a *aborts) take() (id, full string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, full = range a.left {
		delete(a.left, id)
		return id, full, true
	}
	return "", "", false
}

// abortLeft tries again to abort the uploads that could not be aborted. It is called when the store has just answered. It
// stops at the first upload that still cannot be aborted, and remembers it again, so a store that refuses costs one request.
func (b *Destination) abortLeft(ctx context.Context) {
	for {
		id, full, ok := b.unaborted.take()
		if !ok || b.abortOnce(ctx, full, id) != nil {
			return
		}
	}
}
