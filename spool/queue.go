package spool

import "github.com/penstock-go/penstock/spool/segment"

// writeSlack is how many zeros follow the blocks of a commit in memory. The writer uses them to write up to the next page boundary of
// the file: if a page of a recycled file is only partly overwritten, the kernel first has to read it from the disk.
const writeSlack = 4096

// queue is the tail of the log in memory: all accepted records that are not yet on stable storage. Records are copied
// once, directly into the blocks that will be written. Written blocks stay until they are synced, so that they can be written
// again elsewhere if the disk fails.
//
//	chunks:  [ synced, free again | written, not synced | closed blocks | open block ]
//
// The caller locks. Blocks that collect has returned do not change any more and may be read, and their headers stamped,
// without the lock.
type queue struct {
	chunks    []*chunk // oldest first; records are appended to the last
	base      uint64   // number of chunks[0]
	free      []*chunk // a stack, because the chunk used last is still in the CPU cache
	chunkSize int
	inUse     int64             // bytes of chunks
	unwritten int64             // bytes of the blocks after written
	open      bool              // the last block may still grow
	attrs     segment.AttrTable // of the last block of records

	written position // the next block to write
	synced  position // the next block to sync
}

// chunk is a piece of memory that is filled with blocks.
type chunk struct {
	buf    []byte // len grows up to cap and never beyond
	blocks []block
}

// block is a stretch of a chunk that becomes a block of the log.
type block struct {
	off   int // in the chunk's buf
	len   int // with the header, without the padding; set when the block is closed
	first uint64
	count uint32
	kind  segment.Type
	bytes uint64 // payload bytes of the records
	slack bool   // writeSlack zeros follow
}

// next returns the sequence number after the block.
func (b *block) next() uint64 { return b.first + uint64(b.count) }

// position is a place between blocks. Chunk numbers are never reused while the spool is open; blocks are counted within their chunk.
type position struct {
	chunk uint64
	block int
}

func (p position) before(q position) bool {
	return p.chunk < q.chunk || p.chunk == q.chunk && p.block < q.block
}

// span is a run of blocks in one chunk.
type span struct {
	buf    []byte // of the chunk, whose own slice may grow meanwhile
	number uint64
	from   int // index of blocks[0] in the chunk
	blocks []block
}

// blockRoom is how many bytes one record needs at most besides its own: a block's header, its padding and the slack.
const blockRoom = segment.BlockHeaderSize + 16 + writeSlack

// put copies the batch into the queue. The caller has made sure that there is room. The first record gets the sequence number seq.
func (q *queue) put(seq uint64, batch []segment.Record) {
	var c *chunk
	var b *block
	if q.open {
		c = q.chunks[len(q.chunks)-1]
		b = &c.blocks[len(c.blocks)-1]
	}
	for i := range batch {
		r := &batch[i]
		n := segment.RecordSize(len(r.Data), r.Src) + q.attrs.Size(r.Attrs)
		// Blocks end at 64 KiB, so that damage destroys few records; a larger record gets a block of its own. A chunk ends when the
		// block's padding and the slack might not fit any more: its buffer must never be reallocated.
		if b == nil || len(c.buf)-b.off+n > segment.BlockTarget || len(c.buf)+n+16+writeSlack > cap(c.buf) {
			c, b = q.startBlock(r.Size(), seq+uint64(i), segment.RecordBlock)
			q.attrs.Reset()
			n = r.Size()
		}
		c.buf = q.attrs.AppendRecord(c.buf, r)
		b.count++
		b.bytes += uint64(len(r.Data))
		q.unwritten += int64(n)
	}
}

// putLedger adds a block that holds an encoded ledger.
func (q *queue) putLedger(next uint64, payload []byte) {
	c, _ := q.startBlock(len(payload), next, segment.LedgerBlock)
	c.buf = append(c.buf, payload...)
	q.unwritten += int64(len(payload))
	q.close()
}

// startBlock closes the open block and opens one that has room for n bytes.
func (q *queue) startBlock(n int, first uint64, kind segment.Type) (*chunk, *block) {
	q.close()
	c := q.last()
	if c == nil || len(c.buf)+n+blockRoom > cap(c.buf) {
		c = q.grow(n + blockRoom)
	}
	c.blocks = append(c.blocks, block{off: len(c.buf), first: first, kind: kind})
	c.buf = c.buf[:len(c.buf)+segment.BlockHeaderSize] // Stamp fills it in
	q.open = true
	q.unwritten += segment.BlockHeaderSize
	return c, &c.blocks[len(c.blocks)-1]
}

func (q *queue) last() *chunk {
	if len(q.chunks) == 0 {
		return nil
	}
	return q.chunks[len(q.chunks)-1]
}

// grow adds a chunk with room for n bytes.
func (q *queue) grow(n int) *chunk {
	var c *chunk
	if k := len(q.free); k > 0 && n <= q.chunkSize {
		c, q.free = q.free[k-1], q.free[:k-1]
		c.buf, c.blocks = c.buf[:0], c.blocks[:0]
	} else {
		c = &chunk{buf: make([]byte, 0, max(n, q.chunkSize))}
	}
	q.chunks = append(q.chunks, c)
	q.inUse += int64(cap(c.buf))
	return c
}

// close ends the open block, if there is one, and pads it.
func (q *queue) close() {
	if !q.open {
		return
	}
	c := q.last()
	b := &c.blocks[len(c.blocks)-1]
	b.len = len(c.buf) - b.off
	// Blocks begin at multiples of 16 in memory as they do in the file.
	end := b.off + segment.Align(b.len)
	clear(c.buf[len(c.buf):end])
	c.buf = c.buf[:end]
	q.open = false
}

// collect closes the open block and appends all unwritten blocks to spans. It returns the position after the last one.
func (q *queue) collect(spans []span) ([]span, position) {
	q.close()
	end := q.tailPosition()
	if c := q.last(); c != nil && q.written.before(end) {
		b, n := &c.blocks[len(c.blocks)-1], len(c.buf)
		if !b.slack && n+writeSlack <= cap(c.buf) {
			c.buf = c.buf[:n+writeSlack]
			clear(c.buf[n:])
			b.slack = true
		}
	}
	for p := q.written; p.before(end); p = (position{p.chunk + 1, 0}) {
		c := q.chunks[p.chunk-q.base]
		if bs := c.blocks[p.block:]; len(bs) > 0 {
			spans = append(spans, span{c.buf, p.chunk, p.block, bs})
		}
	}
	return spans, end
}

// tailPosition returns the position after the last block.
func (q *queue) tailPosition() position {
	if len(q.chunks) == 0 {
		return position{q.base, 0}
	}
	return position{q.base + uint64(len(q.chunks)) - 1, len(q.last().blocks)}
}

// release moves the synced position forward to p, and frees the chunks before it. Freed chunks are kept for the next burst; see
// trim.
func (q *queue) release(p position) {
	if !q.synced.before(p) {
		return
	}
	q.synced = p
	n := 0
	for n < len(q.chunks) {
		number := q.base + uint64(n)
		done := number < p.chunk ||
			// All of the last chunk is synced: reuse it from its start, since its memory is in the CPU cache. It gets another
			// number, since other goroutines may still hold positions in it.
			number == p.chunk && p == q.tailPosition() && !q.open
		if !done {
			break
		}
		c := q.chunks[n]
		q.inUse -= int64(cap(c.buf))
		if cap(c.buf) == q.chunkSize {
			q.free = append(q.free, c)
		}
		n++
	}
	if n == 0 {
		return
	}
	q.chunks = append(q.chunks[:0], q.chunks[n:]...)
	clear(q.chunks[len(q.chunks) : len(q.chunks)+n])
	q.base += uint64(n)
	if q.synced.chunk < q.base {
		q.synced = position{q.base, 0}
	}
	if q.written.chunk < q.base {
		q.written = position{q.base, 0}
	}
}

// advance moves the written position to p and returns how many bytes lie between.
func (q *queue) advance(p position) (n int64) {
	n = q.between(q.written, p)
	q.unwritten -= n
	q.written = p
	return n
}

// between returns the bytes of the closed blocks from p up to end.
func (q *queue) between(p, end position) (n int64) {
	for ; p.before(end); p = (position{p.chunk + 1, 0}) {
		bs := q.chunks[p.chunk-q.base].blocks
		if p.chunk == end.chunk {
			bs = bs[:end.block]
		}
		for _, b := range bs[p.block:] {
			n += int64(b.len)
		}
	}
	return n
}

// rewind moves the written position back to the synced one, so that all unsynced blocks are written again.
func (q *queue) rewind() {
	q.unwritten += q.between(q.synced, q.written)
	q.written = q.synced
}

// fits reports whether the queue stays within the budget with n more bytes of records. An empty queue accepts any size.
func (q *queue) fits(n, budget int64) bool {
	if q.inUse == 0 {
		return true
	}
	if c := q.last(); c != nil {
		n -= int64(cap(c.buf) - len(c.buf) - blockRoom)
	}
	if n <= 0 {
		return true
	}
	size := int64(q.chunkSize)
	return q.inUse+(n+size-1)/size*size <= budget
}

// trim leaves all free chunks but keep to the garbage collector.
func (q *queue) trim(keep int) {
	if len(q.free) > keep {
		clear(q.free[keep:])
		q.free = q.free[:keep]
	}
}

// pending counts the records after the written position, from the blocks themselves.
func (q *queue) pending() (t segment.Tally) {
	for p := q.written; p.chunk-q.base < uint64(len(q.chunks)); p = (position{p.chunk + 1, 0}) {
		for _, b := range q.chunks[p.chunk-q.base].blocks[p.block:] {
			t.Records += uint64(b.count)
			t.Bytes += b.bytes
		}
	}
	return t
}
