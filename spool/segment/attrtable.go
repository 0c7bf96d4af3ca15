package segment

// In a block, an item of four bytes precedes a record whose attributes are not those of the record before it: it brings a set,
// or says which of the block's earlier sets it is. So the sets need no table whose size would have to be known first, and
// records without attributes are what they were without them.
const (
	kindSet = 0x20 // bits 0–23: the length of the encoded set that follows
	kindUse = 0x21 // bits 0–23: the number of a set of this block, from 0

	itemSize = 4
	// maxSets is how many sets a block has at most. No block of BlockTarget bytes has room for more, and a longer block has
	// one record.
	maxSets = 4096
)

// AttrTable knows which sets of attributes the block under construction has. The zero value is that of an empty block. It is
// not safe for concurrent use.
type AttrTable struct {
	current *Attrs
	numbers map[string]uint32 // by encoded form
}

// Reset begins a new block.
func (t *AttrTable) Reset() {
	if t.current != nil {
		t.current = nil
		clear(t.numbers)
	}
}

// Size returns how many bytes AppendRecord adds to the block for a record's attributes, beside RecordSize.
func (t *AttrTable) Size(a *Attrs) int {
	if a.encoded() == "" {
		return 0
	}
	return t.size(a)
}

func (t *AttrTable) size(a *Attrs) int {
	if a.Equal(t.current) {
		return 0
	}
	if _, ok := t.numbers[a.enc]; ok {
		return itemSize
	}
	return a.Size()
}

// AppendRecord appends r to the block, and its attributes if the block does not have them yet. All records of a block must be
// appended by one AttrTable. It panics like the function AppendRecord.
func (t *AttrTable) AppendRecord(dst []byte, r *Record) []byte { return appendRecord(dst, r, t) }

// choose appends the item for a set if it is not the current one. A nil AttrTable is that of a block without sets.
func (t *AttrTable) choose(dst []byte, a *Attrs) []byte {
	if t == nil {
		return appendSet(dst, a)
	}
	if a.Equal(t.current) {
		return dst
	}
	t.current = a
	if n, ok := t.numbers[a.enc]; ok {
		return le.AppendUint32(dst, n|kindUse<<24)
	}
	if t.numbers == nil {
		t.numbers = make(map[string]uint32)
	}
	t.numbers[a.enc] = uint32(len(t.numbers))
	return appendSet(dst, a)
}

// appendSet appends the item that brings a set.
func appendSet(dst []byte, a *Attrs) []byte {
	return append(le.AppendUint32(dst, uint32(len(a.enc))|kindSet<<24), a.enc...)
}

// cutItem cuts an item off the start of b, which begins with one or with a record: set is the set that it brings, if any, and
// use the number of the one that it names. ok is false if there is no item, or none that is complete.
func cutItem(b []byte) (set []byte, use uint32, rest []byte, ok bool) {
	if len(b) < itemSize {
		return nil, 0, b, false
	}
	head := le.Uint32(b)
	n := head & MaxRecord
	switch head >> 24 {
	case kindUse:
		return nil, n, b[itemSize:], true
	case kindSet:
		if int(n) > len(b)-itemSize {
			return nil, 0, b, false
		}
		return b[itemSize : itemSize+n], 0, b[itemSize+n:], true
	}
	return nil, 0, b, false
}

// attrRecordLen is recordLen for a record with attributes.
func attrRecordLen(b []byte) (size, payload int, ok bool) {
	if len(b) < recordHeaderSize || b[3]&kindAttrs == 0 {
		return 0, 0, false
	}
	head := le.Uint32(b)
	payload = int(head & MaxRecord)
	switch head >> 24 &^ kindAttrs {
	case kindNone:
		size = recordHeaderSize + payload
	case kind4:
		size = recordHeaderSize + source4Size + payload
	case kind6:
		size = recordHeaderSize + source6Size + payload
	default:
		return 0, 0, false
	}
	return size, payload, size <= len(b)
}

// attrCheck checks the attributes of a block while wellFormed goes through it.
type attrCheck struct {
	sets   uint32
	chosen bool // the records so far have chosen one
}

// next checks a record with attributes, and what precedes it. It returns the block from the record on, and the record's length;
// 0 if there is no such record.
func (c *attrCheck) next(b []byte) (record []byte, n int) {
	set, use, record, ok := cutItem(b)
	switch {
	case !ok:
	case set != nil:
		if c.sets == maxSets || !isAttrs(set) {
			return nil, 0
		}
		c.sets++
		c.chosen = true
	case use >= c.sets:
		return nil, 0
	}
	// An item serves the record after it, and a record needs one before it.
	if n, _, ok = attrRecordLen(record); !ok || !c.chosen {
		return nil, 0
	}
	return record, n
}

// attrReader follows the attributes through blocks that are well formed.
type attrReader struct {
	current *Attrs
	sets    []*Attrs          // of the block
	known   map[string]*Attrs // of the blocks so far, so that a set that all blocks share is one
	size    int               // of the known ones, in bytes
}

// maxKnown bounds the known sets in bytes.
const maxKnown = 256 << 10

// reset begins a new block.
func (a *attrReader) reset() {
	if a.current != nil {
		a.current, a.sets = nil, a.sets[:0]
	}
}

// next returns the attributes of the next record, and b from where that begins.
func (a *attrReader) next(b []byte) (attrs *Attrs, record []byte) {
	set, use, rest, ok := cutItem(b)
	switch {
	case !ok:
	case set != nil:
		a.current = a.of(set)
		a.sets = append(a.sets, a.current)
	default:
		a.current = a.sets[use]
	}
	return a.current, rest
}

// of returns an encoded set.
func (a *attrReader) of(enc []byte) *Attrs {
	if s := a.known[string(enc)]; s != nil {
		return s
	}
	if a.known == nil || a.size+len(enc) > maxKnown {
		a.known, a.size = make(map[string]*Attrs), 0
	}
	s := &Attrs{string(enc)}
	a.known[s.enc] = s
	a.size += len(enc)
	return s
}
