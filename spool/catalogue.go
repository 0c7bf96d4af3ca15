package spool

import (
	"cmp"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/internal/fatal"
	"github.com/penstock-go/penstock/spool/segment"
)

// catalogue lists the sealed segments by number. mu guards segs. No file is accessed while mu is held. mu may be acquired while
// journal.mu or Shelf.mu is held, where both have to agree, but not the other way round.
type catalogue struct {
	changed *wait.Signal // broadcasts every change but those made by note

	mu     fatal.Mutex
	segs   []*sealed
	staged int // of segs
}

// sealed describes a sealed segment. Its JSON is the value in the index.
type sealed struct {
	Segment
	// StagedSize is the length of the staged file, 0 if there is none.
	StagedSize int64 `json:",omitempty"`
	// NoRaw: the segment's own file was given up for the staged one.
	NoRaw bool `json:",omitempty"`
	// checked: the staged file was made, or compared with its record, by this process.
	checked bool
	// asked counts the Stage calls of this process, lastAsked is the time of the last one.
	asked     int
	lastAsked time.Time
	// upTo is the sum of the records of this segment and of those before it, possibly with deleted ones: Stats, which is called
	// each second, must not add up a backlog of 100,000 segments. catalogue.mu guards it.
	upTo segment.Tally
}

func byNumber(s *sealed, n uint64) int { return cmp.Compare(s.Number, n) }

// put adds or replaces a segment.
func (c *catalogue) put(seg *sealed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := slices.BinarySearchFunc(c.segs, seg.Number, byNumber)
	if ok {
		c.countStaged(c.segs[i], -1)
		c.segs[i] = seg
	} else {
		c.segs = slices.Insert(c.segs, i, seg)
	}
	c.countStaged(seg, 1)
	c.addUp(i)
	c.changed.Broadcast()
}

// countStaged counts a segment n times if it is staged. c.mu is held.
func (c *catalogue) countStaged(seg *sealed, n int) {
	if seg.Staged {
		c.staged += n
	}
}

// addUp sets upTo of segment i and of all later ones. Unless there is damage, segment i is the last one. c.mu is held.
func (c *catalogue) addUp(i int) {
	for ; i < len(c.segs); i++ {
		s := c.segs[i]
		s.upTo = segment.Tally{Records: s.Records, Bytes: s.Bytes}
		if i > 0 {
			s.upTo.Add(c.segs[i-1].upTo)
		}
	}
}

// get returns a copy of segment n; false if it is not in the catalogue.
func (c *catalogue) get(n uint64) (sealed, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := slices.BinarySearchFunc(c.segs, n, byNumber); ok {
		return *c.segs[i], true
	}
	return sealed{}, false
}

// update changes a segment if it is in the catalogue, broadcasts the change, and returns a copy of the segment.
func (c *catalogue) update(n uint64, f func(*sealed)) (sealed, bool) {
	seg, ok := c.note(n, f)
	if ok {
		c.changed.Broadcast()
	}
	return seg, ok
}

// note is update without the broadcast.
func (c *catalogue) note(n uint64, f func(*sealed)) (sealed, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := slices.BinarySearchFunc(c.segs, n, byNumber)
	if !ok {
		return sealed{}, false
	}
	seg := c.segs[i]
	before := segment.Tally{Records: seg.Records, Bytes: seg.Bytes}
	c.countStaged(seg, -1)
	f(seg)
	c.countStaged(seg, 1)
	if before != (segment.Tally{Records: seg.Records, Bytes: seg.Bytes}) {
		c.addUp(i)
	}
	return *seg, true
}

// remove forgets the oldest segments up to and including number n, at most `most` of them, and returns them.
func (c *catalogue) remove(n uint64, most int) []*sealed {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := slices.BinarySearchFunc(c.segs, n, byNumber)
	if ok {
		i++
	}
	i = min(i, most)
	// Moving the remaining segments down would cost each acknowledgement time proportional to the backlog.
	gone := slices.Clone(c.segs[:i])
	for _, s := range gone {
		c.countStaged(s, -1)
	}
	clear(c.segs[:i])
	c.segs = c.segs[i:]
	if i > 0 {
		c.changed.Broadcast()
	}
	return gone
}

// after lists copies of the segments with numbers above n, at most limit (0: all).
func (c *catalogue) after(n uint64, limit int) []Segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := slices.BinarySearchFunc(c.segs, n, byNumber)
	if ok {
		i++
	}
	segs := c.segs[i:]
	if limit > 0 {
		segs = segs[:min(limit, len(segs))]
	}
	list := make([]Segment, len(segs))
	for i, s := range segs {
		list[i] = s.Segment
		list[i].Gaps, list[i].Unaccounted = slices.Clone(s.Gaps), slices.Clone(s.Unaccounted)
	}
	return list
}

// sum adds up the records in segments with numbers above after, up to last.
func (c *catalogue) sum(after, last uint64) (t segment.Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, to := c.behind(after), c.behind(last)
	if from >= to {
		return t
	}
	t = c.segs[to-1].upTo
	if from > 0 {
		before := c.segs[from-1].upTo
		t.Records, t.Bytes = t.Records-before.Records, t.Bytes-before.Bytes
	} else {
		first := c.segs[0]
		t.Records, t.Bytes = t.Records-first.upTo.Records+first.Records, t.Bytes-first.upTo.Bytes+first.Bytes
	}
	return t
}

// behind returns the index of the first segment with a number above n. c.mu is held.
func (c *catalogue) behind(n uint64) int {
	i, ok := slices.BinarySearchFunc(c.segs, n, byNumber)
	if ok {
		i++
	}
	return i
}

// begins returns when the first segment with a number above n was created; false if there is none.
func (c *catalogue) begins(n uint64) (t time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.behind(n)
	if i == len(c.segs) {
		return t, false
	}
	return c.segs[i].Created, true
}

// double lists the segments that have two files: the staged file and their own.
func (c *catalogue) double() (numbers []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.segs {
		if s.Staged && !s.NoRaw {
			numbers = append(numbers, s.Number)
		}
	}
	return numbers
}

// any reports whether there are segments up to number n.
func (c *catalogue) any(n uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.segs) > 0 && c.segs[0].Number <= n
}

// last returns the number of the newest segment, 0 if there is none.
func (c *catalogue) last() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.segs) == 0 {
		return 0
	}
	return c.segs[len(c.segs)-1].Number
}

// count returns how many segments there are, and how many are staged.
func (c *catalogue) count() (all, staged int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.segs), c.staged
}

// following returns the number of the first segment above n, 0 if there is none.
func (c *catalogue) following(n uint64) uint64 {
	if list := c.after(n, 1); len(list) > 0 {
		return list[0].Number
	}
	return 0
}

// recordBytes adds up the files that hold the records: for each segment its own, or the staged one if NoRaw is set.
func (c *catalogue) recordBytes() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.segs {
		if s.NoRaw {
			n += s.StagedSize
		} else {
			n += s.Size
		}
	}
	return n
}

// Sealed lists the sealed segments with numbers above after, ascending, at most max (0: all).
func (s *Shelf) Sealed(after uint64, max int) []Segment { return s.cat.after(after, max) }

// Changed returns a channel that is closed at the next change of Sealed, Stats.Full or a chain. Call it before you read them, so
// that no change in between is missed.
func (s *Shelf) Changed() <-chan struct{} { return s.changed.Next() }
