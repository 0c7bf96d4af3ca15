package vfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// DataFate says what a power cut does to writes that were not synced.
type DataFate uint8

const (
	// DataDropped: they are lost.
	DataDropped DataFate = iota
	// DataKept: they are kept, except those that a failed Sync dropped.
	DataKept
	// DataTorn: each sector of 512 bytes has the newest version or any other since the last Sync; so has the size.
	DataTorn
	// DataMixed: for each file one of the three above.
	DataMixed
)

// NameFate says what a power cut does to changes in directories that were not synced.
type NameFate uint8

const (
	// NamesStrict: they are lost, as POSIX permits: only SyncDir makes names durable, and only for its own directory.
	NamesStrict NameFate = iota
	// NamesJournal: a prefix of all changes in order is kept, at least up to the last SyncDir, as with ext4, XFS and btrfs.
	NamesJournal
	// NamesKept: they are kept. With DataKept this is like the death of the process alone, except that everything is durable:
	// see KillClone.
	NamesKept
)

// Crash selects one of the states that a power cut may leave. The same Crash of the same state gives the same clone.
type Crash struct {
	Data  DataFate
	Names NameFate
	Seed  uint64
}

// String describes the crash for a test's log.
func (c Crash) String() string {
	data := [...]string{"dropped", "kept", "torn", "mixed"}
	names := [...]string{"strict", "journal", "kept"}
	return fmt.Sprintf("data %s, names %s, seed %d", data[c.Data], names[c.Names], c.Seed)
}

// CrashClone returns the file system in the state that a power cut at this moment leaves. Everything in the clone is durable,
// and nothing is open or locked. The original is not affected.
func (m *Mem) CrashClone(c Crash) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := &crash{
		Crash: c,
		from:  m,
		to:    &Mem{uuid: m.uuid, capacity: m.capacity, locks: map[string]string{}, nodes: m.nodes},
		made:  map[*memNode]*memNode{},
		views: map[*memNode]map[string]*memNode{},
	}
	if c.Names == NamesJournal {
		rng := rand.New(rand.NewPCG(c.Seed, 0))
		for _, op := range m.journal[:rng.IntN(len(m.journal)+1)] {
			for _, ch := range op {
				if k.views[ch.dir] == nil {
					k.views[ch.dir] = maps.Clone(ch.dir.base)
				}
				ch.apply(k.views[ch.dir])
			}
		}
	}
	k.to.root = k.clone(m.root)
	return k.to
}

// KillClone returns the file system in the state that the death of all processes at this moment leaves: everything that was
// written is there, but no more of it is durable than before. Unlike a clone of CrashClone, it can still lose that in a later
// power cut.
func (m *Mem) KillClone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	to := &Mem{uuid: m.uuid, capacity: m.capacity, used: m.used, locks: map[string]string{}, nodes: m.nodes}
	made := map[*memNode]*memNode{}
	var node func(n *memNode) *memNode
	view := func(names map[string]*memNode) map[string]*memNode {
		c := make(map[string]*memNode, len(names))
		for name, n := range names {
			c[name] = node(n)
		}
		return c
	}
	node = func(n *memNode) *memNode {
		if n == nil || made[n] != nil {
			return made[n]
		}
		c := new(*n)
		made[n] = c
		if c.opens = 0; n.opens > 0 {
			to.release(c)
		}
		c.dirty, c.sizes, c.slots = slices.Clone(n.dirty), slices.Clone(n.sizes), slices.Clone(n.slots)
		for i := range c.slots {
			c.slots[i].old = slices.Clone(c.slots[i].old)
		}
		if n.isDir() {
			c.now, c.synced, c.base = view(n.now), view(n.synced), view(n.base)
		}
		return c
	}
	to.root = node(m.root)
	for _, op := range m.journal {
		var changes memOp
		for _, ch := range op {
			changes = append(changes, memChange{node(ch.dir), ch.name, node(ch.node)})
		}
		to.journal = append(to.journal, changes)
	}
	return to
}

// crash is a clone under construction.
type crash struct {
	Crash
	from, to *Mem
	made     map[*memNode]*memNode            // a file with names in two directories is cloned once
	views    map[*memNode]map[string]*memNode // directories as changed by the kept prefix of the journal
}

// names returns the names that the power cut leaves in a directory.
func (k *crash) names(dir *memNode) map[string]*memNode {
	switch {
	case k.Names == NamesStrict:
		return dir.synced
	case k.Names == NamesKept:
		return dir.now
	case k.views[dir] != nil:
		return k.views[dir]
	}
	return dir.base
}

// clone copies a node and, for a directory, everything left below it.
func (k *crash) clone(n *memNode) *memNode {
	if c := k.made[n]; c != nil {
		c.links++
		return c
	}
	c := &memNode{id: n.id, time: n.time, birth: n.birth, links: 1}
	k.made[n] = c
	if n.isDir() {
		c.now = map[string]*memNode{}
		for name, child := range k.names(n) {
			c.now[name] = k.clone(child)
		}
		c.synced, c.base = maps.Clone(c.now), maps.Clone(c.now)
		return c
	}
	k.data(n, c)
	for i := range c.slots {
		if c.slots[i].cur != nil {
			k.to.used += pageSize
		}
	}
	return c
}

// data sets the contents of clone c of file n. Each file has its own random numbers, so that the result does not depend on the
// order of maps.
func (k *crash) data(n, c *memNode) {
	rng := rand.New(rand.NewPCG(k.Seed, n.id))
	fate := k.Data
	if fate == DataMixed {
		fate = DataFate(rng.IntN(int(DataMixed)))
	}
	var tear func(sector int) bool
	switch fate {
	case DataDropped:
		c.size = n.durableSize
	case DataKept:
		c.size = n.size
	case DataTorn:
		tear = tearing(rng, n)
		sizes := append(slices.Clone(n.sizes), n.durableSize, n.size, n.size) // the current size twice as often
		c.size = sizes[rng.IntN(len(sizes))]
		// File systems with delayed allocation may also write part of the added data, and set the size to that.
		if grown := n.size - n.durableSize; grown > 0 && rng.IntN(4) == 0 {
			c.size = (n.durableSize + rng.Int64N(grown)) / sector * sector
			c.size = max(c.size, n.durableSize)
		}
	}
	c.durableSize = c.size
	c.slots = make([]slot, min(len(n.slots), int((c.size+pageSize-1)/pageSize)))
	for i := range c.slots {
		s := &n.slots[i]
		p := s.durable
		switch {
		case s.cur == s.durable: // share the page with the original: pages never change
		case fate == DataKept && s.dirty:
			p = s.cur
		case fate == DataTorn:
			p = s.torn(rng, func(j int) bool { return tear(i*pageSize/sector + j) })
		}
		if end := c.size - int64(i)*pageSize; end < pageSize && p != nil {
			cut := new(page) // after the end of a file there are zeroes
			copy(cut[:end], p[:])
			p = cut
		}
		c.slots[i] = slot{cur: p, durable: p}
	}
}

// tearing chooses the sectors that the disk has written: at random, or one of the patterns that find most bugs: all before a
// place, all after a place, all but one.
func tearing(rng *rand.Rand, n *memNode) func(sector int) bool {
	lo, hi := 0, len(n.slots)*pageSize/sector
	if len(n.dirty) > 0 {
		lo = slices.Min(n.dirty) * pageSize / sector
		hi = (slices.Max(n.dirty) + 1) * pageSize / sector
	}
	at := lo + rng.IntN(hi-lo+1)
	switch rng.IntN(4) {
	case 0:
		return func(s int) bool { return s < at }
	case 1:
		return func(s int) bool { return s >= at }
	case 2:
		return func(s int) bool { return s != at }
	}
	chance := rng.Float64()
	return func(int) bool { return rng.Float64() < chance }
}

// torn returns a page with the newest version of the sectors that newest selects, and any older version of the others.
func (s *slot) torn(rng *rand.Rand, newest func(sector int) bool) *page {
	older := append([]*page{s.durable, s.durable}, s.old...) // the durable version twice as often as those in between
	out := new(page)
	for j := range pageSize / sector {
		src := s.cur
		if !newest(j) {
			src = older[rng.IntN(len(older))]
		}
		if src != nil {
			copy(out[j*sector:(j+1)*sector], src[j*sector:])
		}
	}
	return out
}
