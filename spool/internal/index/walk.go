package index

import "bytes"

// boltNode is a page of a bbolt file. Its contents are not checked yet.
type boltNode struct {
	data  []byte
	flags uint16
	count int
}

func newBoltNode(b []byte) boltNode {
	return boltNode{data: b, flags: native.Uint16(b[8:]), count: int(native.Uint16(b[10:]))}
}

// element returns the 16 bytes of element i, and all bytes from its start on, since positions count from there.
func (p boltNode) element(i int) (e, from []byte, ok bool) {
	at := boltHeader + 16*i
	if at+16 > len(p.data) {
		return nil, nil, false
	}
	return p.data[at : at+16], p.data[at:], true
}

// leaf returns element i of a leaf page. ok: it is within the page.
func (p boltNode) leaf(i int) (key, value []byte, bucket, ok bool) {
	e, from, ok := p.element(i)
	if !ok {
		return nil, nil, false, false
	}
	flags, pos := native.Uint32(e), uint64(native.Uint32(e[4:]))
	k, v := uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
	if flags > 1 || k == 0 || pos+k+v > uint64(len(from)) {
		return nil, nil, false, false
	}
	return from[pos : pos+k], from[pos+k : pos+k+v], flags == 1, true
}

// branch returns element i of a branch page: a child, and the lowest key in it.
func (p boltNode) branch(i int) (key []byte, child uint64, ok bool) {
	e, from, ok := p.element(i)
	if !ok {
		return nil, 0, false
	}
	pos, k := uint64(native.Uint32(e)), uint64(native.Uint32(e[4:]))
	if k == 0 || pos+k > uint64(len(from)) {
		return nil, 0, false
	}
	return from[pos : pos+k], native.Uint64(e[8:]), true
}

// boltWalk checks the tree of a bucket.
type boltWalk struct{ *boltCheck }

// page checks the tree below a page. All its keys must be in [lo, hi): bbolt does not find a key in the wrong place. A nil bound
// means no bound.
func (w boltWalk) page(id uint64, lo, hi []byte, depth int) error {
	p, err := w.boltCheck.page(id, depth)
	if err != nil {
		return err
	}
	return w.node(p, lo, hi, depth)
}

// node checks a page that was read, and what is below it. The keys of a branch divide [lo, hi) among its children.
func (w boltWalk) node(p boltNode, lo, hi []byte, depth int) error {
	switch {
	case depth > boltMaxDepth:
		return damaged("the tree of the index is too deep")
	case p.flags == boltLeaf:
		return w.leaf(p, lo, hi)
	case p.flags != boltBranch || p.count == 0:
		return damaged("a page of the index is of no known kind")
	}
	key, child, ok := p.branch(0)
	for i := range p.count {
		next, end := []byte(nil), hi
		var nextChild uint64
		nextOK := true
		if i+1 < p.count {
			next, nextChild, nextOK = p.branch(i + 1)
			end = next
		}
		if !ok || !nextOK || !within(key, lo, end) {
			return damaged("a branch page of the index is damaged")
		}
		if err := w.page(child, key, end, depth+1); err != nil {
			return err
		}
		lo, key, child, ok = next, next, nextChild, nextOK
	}
	return nil
}

// leaf checks and counts the entries of a leaf page. They must be in ascending order, and none may occur twice.
func (w boltWalk) leaf(p boltNode, lo, hi []byte) error {
	for i := range p.count {
		key, value, bucket, ok := p.leaf(i)
		if !ok || bucket || !within(key, lo, hi) || i > 0 && bytes.Equal(key, lo) {
			return damaged("a leaf page of the index is damaged")
		}
		if err := w.entry(key, value); err != nil {
			return err
		}
		lo = key
	}
	return nil
}

func within(key, lo, hi []byte) bool {
	return (lo == nil || bytes.Compare(key, lo) >= 0) && (hi == nil || bytes.Compare(key, hi) < 0)
}
