package index

import (
	"encoding/binary"
	"hash/fnv"
	"io"
)

// The format of a bbolt file, version 2, as far as it is checked here; integers have the byte order of the machine.
//
//	page    := id u64, flags u16, count u16, overflow u32, elements…     (overflow more pages belong to it)
//	meta    := magic u32, version u32, page size u32, flags u32, root u64, sequence u64, freelist u64, pages u64, txid u64,
//	           FNV-1a of all this u64                                      pages 0 and 1, written in turn
//	branch  := pos u32, key size u32, child u64
//	leaf    := flags u32, pos u32, key size u32, value size u32           flags 1: the value is a bucket
//	bucket  := root u64, sequence u64, and if root is 0 a page of its own inside the value
//	freelist:= ids u64; if count is 0xffff the first one is the count
//
// pos counts from the element itself.
const (
	boltPage      = 4096
	boltHeader    = 16
	boltMagic     = 0xED0CDAED
	boltVersion   = 2
	boltBranch    = 1
	boltLeaf      = 2
	boltFreelist  = 0x10
	boltMaxDepth  = 32
	boltMaxFile   = 1 << 32
	boltMaxExtent = 1 << 14 // pages; the freelist of the largest file needs half of it
)

var native = binary.NativeEndian

// checkFile reads a bbolt file as untrusted bytes and says whether bbolt may map it. bbolt itself
// trusts pointers, counts and sizes in its pages. Damaged ones make it panic, even in a goroutine of its own, recurse
// in a circle until the stack is full, or allocate more memory than there is: the process that embeds the spool would die
// at each start. An index that passes this check is sound in structure, and every entry in it is the one that was put.
//
// A damage error or statefile.ErrNewer says why bbolt must not map the file; any other error is one of reading.
func checkFile(r io.ReaderAt, size int64) error { return readFile(r, size, func(string, []byte) {}) }

// readFile is checkFile, and also calls each with every entry. The entries must not be trusted before readFile returns nil.
func readFile(r io.ReaderAt, size int64, each func(key string, value []byte)) error {
	if size < 4*boltPage || size > boltMaxFile {
		return damaged("a file of %d bytes is no index", size)
	}
	c := boltCheck{r: r, each: each}
	meta, err := c.metas()
	if err != nil {
		return err
	}
	if meta.pages < 4 || meta.pages > uint64(size/boltPage) {
		return damaged("the index has %d pages and %d bytes", meta.pages, size)
	}
	c.seen = make([]bool, meta.pages)
	c.seen[0], c.seen[1] = true, true
	if err := c.freelist(meta.freelist); err != nil {
		return err
	}
	if err := c.root(meta.root); err != nil {
		return err
	}
	if !c.found {
		return damaged("the index has no header")
	}
	if c.got.count != c.want.count || c.got.sum != c.want.sum {
		return damaged("the %d entries of the index do not match its header (%d)", c.got.count, c.want.count)
	}
	return nil
}

type boltCheck struct {
	r         io.ReaderAt
	seen      []bool   // pages that are in use or free: each may be reached once, so every walk ends
	bufs      [][]byte // one page at each depth of the walk
	each      func(key string, value []byte)
	found     bool // the header entry
	want, got header
}

// boltMeta is what a meta page says of its transaction.
type boltMeta struct{ root, freelist, pages, txid uint64 }

// metas returns the newer meta page. bbolt is content with one valid meta page; here the other must be valid too, and one
// transaction older. A disk that writes sectors as a whole always leaves two valid ones, and falling back silently to the older
// page would undo an acknowledged transaction.
func (c *boltCheck) metas() (boltMeta, error) {
	var m [2]boltMeta
	for i := range m {
		b := make([]byte, boltHeader+64)
		if err := c.read(b, uint64(i)); err != nil {
			return m[0], err
		}
		b = b[boltHeader:]
		sum := fnv.New64a()
		sum.Write(b[:56])
		if native.Uint32(b) != boltMagic || native.Uint32(b[4:]) != boltVersion || native.Uint32(b[8:]) != boltPage || native.Uint64(b[56:]) != sum.Sum64() {
			return m[0], damaged("meta page %d of the index is damaged", i)
		}
		m[i] = boltMeta{root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]), pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:])}
	}
	switch {
	case m[0].txid == m[1].txid+1 && m[0].txid%2 == 0:
		return m[0], nil
	case m[1].txid == m[0].txid+1 && m[1].txid%2 == 1:
		return m[1], nil
	}
	return m[0], damaged("the meta pages of the index are of transactions %d and %d", m[0].txid, m[1].txid)
}

// read fills b with the bytes from the start of a page. A short file is damage; an error of the disk is returned unchanged.
func (c *boltCheck) read(b []byte, id uint64) error {
	n, err := c.r.ReadAt(b, int64(id)*boltPage)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		return damaged("the index ends in page %d", id)
	}
	return err
}

// page reads a page and its overflow pages, none of which may have been seen before. The result is valid until the next page
// at this depth is read.
func (c *boltCheck) page(id uint64, depth int) (p boltNode, err error) {
	if id < 2 || id >= uint64(len(c.seen)) {
		return p, damaged("page %d of the index does not exist", id)
	}
	for len(c.bufs) <= depth {
		c.bufs = append(c.bufs, make([]byte, boltPage))
	}
	b := c.bufs[depth][:boltPage] // parents keep theirs: bounds of keys point into them
	if err := c.read(b, id); err != nil {
		return p, err
	}
	// A page contains its own number, which reveals a page that was written to the wrong place, or never.
	over := uint64(native.Uint32(b[12:]))
	if native.Uint64(b) != id || over >= boltMaxExtent || id+over >= uint64(len(c.seen)) {
		return p, damaged("page %d of the index is damaged", id)
	}
	for i := id; i <= id+over; i++ {
		if c.seen[i] {
			return p, damaged("page %d of the index is in use twice", i)
		}
		c.seen[i] = true
	}
	if over > 0 {
		b = append(b, make([]byte, over*boltPage)...)
		if err := c.read(b[boltPage:], id+1); err != nil {
			return p, err
		}
		c.bufs[depth] = b
	}
	return newBoltNode(b), nil
}

// freelist checks the list of free pages: bbolt would write into any page in it.
func (c *boltCheck) freelist(id uint64) error {
	p, err := c.page(id, 0)
	if err != nil {
		return err
	}
	ids, n := p.data[boltHeader:], uint64(p.count)
	if n == 0xffff {
		n, ids = native.Uint64(ids), ids[8:]
	}
	if p.flags != boltFreelist || n > uint64(len(ids)/8) {
		return damaged("the freelist of the index is damaged")
	}
	for i := range n {
		free := native.Uint64(ids[i*8:])
		if free >= uint64(len(c.seen)) || c.seen[free] {
			return damaged("page %d of the index is free and in use", free)
		}
		c.seen[free] = true
	}
	return nil
}

// root checks the root bucket, its one bucket, and the entries in that.
func (c *boltCheck) root(id uint64) error {
	p, err := c.page(id, 0)
	if err != nil {
		return err
	}
	if p.flags != boltLeaf || p.count != 1 {
		return damaged("the index does not have exactly one bucket")
	}
	key, value, bucket, ok := p.leaf(0)
	if !ok || !bucket || string(key) != indexBucket || len(value) < 16 {
		return damaged("the index does not have the expected bucket")
	}
	w := boltWalk{boltCheck: c}
	if root := native.Uint64(value); root != 0 { // a bucket with few entries has no page of its own
		return w.page(root, nil, nil, 1)
	}
	inline := value[16:]
	if len(inline) < boltHeader {
		return damaged("the bucket of the index is damaged")
	}
	return w.node(newBoltNode(inline), nil, nil, 1)
}

// entry checks an entry and counts it.
func (c *boltCheck) entry(key, sealed []byte) error {
	if string(key) == headerKey {
		var err error
		c.found = true
		c.want, err = decodeHeader(sealed)
		return err
	}
	value, crc, ok := openValue(key, sealed)
	if !ok {
		return damaged("entry %q of the index is damaged", key)
	}
	c.got.add(crc)
	c.each(string(key), value)
	return nil
}
