package ship

import "github.com/penstock-go/penstock/spool"

// attempts records this process's own uploads. It shows which keys are new, so that the destination need not be asked first,
// and under which keys it may have stored other bytes than were sent. Invariant: a key is new for one attempt only. After
// that attempt, whatever its result, the destination is asked.
type attempts struct {
	// tried are the segments that this process has sent, or tried to send, and that the chain does not cover yet.
	tried map[uint64]struct{}
	// failed are the tried segments whose verification at the destination failed although the staged file is sound.
	failed map[uint64]struct{}
	// published is the last manifest that this process has published, zero while another one is being sent.
	published publication
}

// publication is a manifest's place in a chain.
type publication struct {
	spool string
	spool.Link
}

// noteSegment reports whether this is the first attempt at a segment that was begun after the spool was opened, and notes it.
func (a *attempts) noteSegment(sp *spool.Spool, rec *spool.StageRecord) bool {
	_, again := a.tried[rec.Segment]
	if a.tried == nil {
		a.tried = map[uint64]struct{}{}
	}
	a.tried[rec.Segment] = struct{}{}
	return !again && rec.First > sp.Shelf().LastAtOpen()
}

// noteAltered notes that the destination reported other bytes for a segment's object than were sent.
func (a *attempts) noteAltered(segment uint64) {
	if a.failed == nil {
		a.failed = map[uint64]struct{}{}
	}
	a.failed[segment] = struct{}{}
}

// forgetCovered forgets the segments that a chain covers.
func (a *attempts) forgetCovered(segment uint64) {
	for n := range a.tried {
		if n <= segment {
			delete(a.tried, n)
			delete(a.failed, n)
		}
	}
}

// noteManifest reports whether this is the first attempt at a manifest whose predecessor this process has published, and
// notes that the manifest is being sent.
func (a *attempts) noteManifest(h *ManifestHeader) bool {
	before := publication{h.Spool, spool.Link{Epoch: h.Epoch, Number: h.Number - 1}}
	first := h.Number > 0 && a.published == before
	a.published = publication{}
	return first
}

// notePublished notes that a manifest is at its destination.
func (a *attempts) notePublished(h *ManifestHeader) {
	a.published = publication{h.Spool, spool.Link{Epoch: h.Epoch, Number: h.Number}}
}
