package s3ship

import (
	"context"
	"maps"
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

// takeAll returns what is remembered, and forgets it.
func (a *aborts) takeAll() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := maps.Clone(a.left)
	clear(a.left)
	return all
}

// abortLeft tries again to abort what could not be aborted. What still cannot be is remembered again.
func (b *Bucket) abortLeft(ctx context.Context) {
	for id, full := range b.unaborted.takeAll() {
		_ = b.abortOnce(ctx, full, id)
	}
}
