package segment

// In a block, an item of four bytes precedes a record whose attributes differ from those of the record before it: it is followed by
// a new set, or contains the number of an earlier set of the block. So no table of sets is needed, whose size would have to be known
// in advance, and the encoding of records without attributes is unchanged.
const (
	kindSet = 0x20 // bits 0–23: the length of the encoded set that follows
	kindUse = 0x21 // bits 0–23: the number of a set of this block, from 0

	itemSize = 4
	// maxSets is the maximum number of sets in a block. No block of BlockTarget bytes has room for more, and a longer block has
	// only one record.
	maxSets = 4096
)

// AttrTable records which sets of attributes the block under construction contains. The zero value is for an empty block. It is
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

// Size returns how many bytes AppendRecord adds to the block for a record's attributes, in addition to RecordSize.
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

// choose appends the item for a set if it is not the current one. A nil AttrTable is for a block without sets.
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

// appendSet appends the item of a new set, and the set.
func appendSet(dst []byte, a *Attrs) []byte {
	return append(le.AppendUint32(dst, uint32(len(a.enc))|kindSet<<24), a.enc...)
}

// cutItem cuts an item off the start of b, which begins with an item or a record. set is the new set after the item, if any, otherwise
// use is the number of the set in the item. ok is false if there is no complete item.
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
	chosen bool // an item has chosen a set
}

// next checks a record with attributes, and the item before it, if any. It returns the block from the record on, and the record's
// length; 0 if there is no such record.
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
	// An item must be followed by a record with attributes, and such a record needs an item somewhere before it.
	if n, _, ok = attrRecordLen(record); !ok || !c.chosen {
		return nil, 0
	}
	return record, n
}

// attrReader decodes the attributes in blocks that are well formed.
type attrReader struct {
	current *Attrs
	sets    []*Attrs          // of the block
	known   map[string]*Attrs // of the blocks so far, so that equal sets of several blocks become one *Attrs
	size    int               // of the known sets, in bytes
}

// maxKnown is the maximum size of the known sets in bytes.
const maxKnown = 256 << 10

// reset begins a new block.
func (a *attrReader) reset() {
	if a.current != nil {
		a.current, a.sets = nil, a.sets[:0]
	}
}

// next returns the attributes of the next record, and b from the start of that record.
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

// of decodes a set.
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
