package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// Errors known from other disk buffers: the scenarios in the known_errors.rs of Vector's disk buffer, rewritten. A file is damaged
// between two lives of a spool. The lost records must be reported exactly, all others must arrive, and none may block the spool,
// come back, or be counted twice.

// scene is a spool of two sealed segments with the records 1 to 10 and 11 to 20, and an active one with 21 to 30, each
// block of two records synced before the next one.
type scene struct {
	*testing.T
	d       *disk
	index   *index.Mem
	seg     [3]string // their paths
	options Options
	numbers [3]uint64
}

type knownError struct {
	name    string
	acked   int  // segments acknowledged, and not deleted yet
	orderly bool // the first life ended in order
	// noActive: the first life ended with the second segment, sealed.
	noActive bool
	hurt     func(*scene)   // what happens to the files
	lost     *segment.Range // what is reported as damage
	end      uint64         // the last record of the second life; 0: 30
	refused  error          // Open does not go on
}

func gap(first, last uint64) *segment.Range { return &segment.Range{First: first, Last: last} }

func TestKnownErrors(t *testing.T) {
	for _, k := range []knownError{
		// A block without a length at the start of the unsealed segment: a reader that waits for it would wait indefinitely.
		{name: "first block is zeroes", orderly: true, hurt: func(s *scene) { s.zero(2, 21, segment.BlockHeaderSize) }, lost: gap(21, 22)},
		{name: "first block is zeroes, after a crash", hurt: func(s *scene) { s.zero(2, 21, segment.BlockHeaderSize) }, lost: gap(21, 22)},
		// A segment that ends in the middle of a record although the writer has gone on to the next one.
		{name: "sealed segment is cut", hurt: func(s *scene) { s.cut(1, 17, 100) }, lost: gap(17, 20)},
		{name: "sealed segment is cut at a block's end", hurt: func(s *scene) { s.cut(1, 17, 0) }, lost: gap(17, 20)},
		// An acknowledged segment is damaged before it is deleted: this is not reported.
		{name: "acknowledged segment is damaged", acked: 2, hurt: func(s *scene) { s.flip(1, 19); s.flip(0, 1) }},
		{name: "acknowledged segment is cut", acked: 2, hurt: func(s *scene) { s.cut(1, 13, 7) }},
		// The next record to be sent is damaged, or follows one that is and has been acknowledged.
		{name: "next block to send is damaged", acked: 1, hurt: func(s *scene) { s.flip(1, 11) }, lost: gap(11, 12)},
		{name: "block before the next one to send is damaged", acked: 1, hurt: func(s *scene) { s.flip(0, 9) }},
		// Damage in the middle neither ends reading nor affects later records, at a start or without one.
		{name: "block in a sealed segment is damaged", hurt: func(s *scene) { s.flip(1, 13) }, lost: gap(13, 14)},
		{name: "block in the active segment is damaged", hurt: func(s *scene) { s.flip(2, 25) }, lost: gap(25, 26)},
		{name: "block in the active segment is damaged, after an orderly end", orderly: true, hurt: func(s *scene) { s.flip(2, 25) }, lost: gap(25, 26)},
		// The checksum is right, but the contents are not records.
		{name: "block holds no records", hurt: func(s *scene) { s.scramble(1, 15) }, lost: gap(15, 16)},
		{name: "block in the active segment holds no records", hurt: func(s *scene) { s.scramble(2, 23) }, lost: gap(23, 24)},
		// The last block: after an orderly end it was whole, so it is damage, and after a crash if the note of the newest
		// segment says so. Without the note nothing does, and it is cut like one that was half written.
		{name: "last block is damaged", orderly: true, hurt: func(s *scene) { s.flip(2, 30) }, lost: gap(29, 30)},
		{name: "last block holds no records", orderly: true, hurt: func(s *scene) { s.scramble(2, 29) }, lost: gap(29, 30)},
		{name: "last block is damaged, after a crash", hurt: func(s *scene) { s.flip(2, 30) }, lost: gap(29, 30)},
		{name: "last block is zeroes, after a crash", hurt: func(s *scene) { s.zero(2, 29, 2048) }, lost: gap(29, 30)},
		{name: "last block is torn", hurt: func(s *scene) { s.unnote(); s.flip(2, 30) }, end: 28},
		{name: "last block was not written", hurt: func(s *scene) { s.unnote(); s.zero(2, 29, 2048) }, end: 28},
		// A torn block with intact ones after it, as a power cut may leave blocks that were synced together: none of these come back.
		{name: "tail is torn in the middle", hurt: func(s *scene) { s.unnote(); s.unmark(); s.flip(2, 27) }, end: 26},
		// Delivered records cannot be missing because of a torn tail.
		{name: "log is shorter than what was acknowledged", acked: 3, hurt: func(s *scene) { s.flip(2, 29) }},
		// The index and the mark speak of less, or of more, than there is.
		{name: "index is older than the segments", hurt: func(s *scene) { *s.index = *s.index.Crash(index.Fate{Aged: 1}) }},
		{name: "index is lost", hurt: func(s *scene) { *s.index = index.Mem{} }},
		{name: "index knows of a segment that is gone", hurt: func(s *scene) { s.remove(1) }, lost: gap(11, 20)},
		{name: "mark of an earlier orderly end comes back", hurt: func(s *scene) { s.clean(23, headerPad+1056) }},
		{name: "active segment is gone", orderly: true, hurt: func(s *scene) { s.remove(2) }, lost: gap(21, 30)},
		{name: "active segment is gone, after a crash", hurt: func(s *scene) { s.remove(2) }, lost: gap(21, 30)},
		{name: "active segment is empty, after a crash", hurt: func(s *scene) { s.truncate(2, 0) }, lost: gap(21, 30)},
		{name: "active segment has no header, after a crash", hurt: func(s *scene) { s.truncate(2, 100) }, lost: gap(21, 30)},
		{name: "active segment is cut, after a crash", hurt: func(s *scene) { s.cut(2, 25, 100) }, lost: gap(25, 30)},
		{name: "header of the active segment is zeroes, after a crash", hurt: func(s *scene) { s.zeroAt(2, 0, headerPad) }},
		{name: "active segment and the one before it are gone", hurt: func(s *scene) { s.remove(1); s.remove(2) }, lost: gap(11, 30)},
		// The newest sealed segment is cut while nothing was active: the index knew its last record.
		{name: "newest sealed segment is cut", noActive: true, hurt: func(s *scene) { s.truncate(1, headerPad+1100+100) }, lost: gap(13, 20), end: 20},
		{name: "newest sealed segment is empty", noActive: true, hurt: func(s *scene) { s.truncate(1, 0) }, lost: gap(11, 20), end: 20},
		{name: "newest sealed segment is cut, index lost", noActive: true, hurt: func(s *scene) { *s.index = index.Mem{}; s.cut(1, 17, 100) }, lost: gap(17, 20), end: 20},
		// A file is another segment's, and its header is damaged: its blocks must not be read as this segment's.
		{name: "active segment is an earlier one, whose header is damaged", hurt: func(s *scene) { s.become(2, 0) }, lost: gap(21, 30)},
		{name: "sealed segment is an earlier one, whose header is damaged", hurt: func(s *scene) { *s.index = index.Mem{}; s.become(1, 0) }, lost: gap(11, 20)},
		// The header of a sealed segment is zeroes, and the file is no spare for that.
		{name: "first page and footer of a sealed segment are zeroes", hurt: func(s *scene) { s.zeroAt(1, 0, headerPad); s.cut(1, 17, 100) }, lost: gap(11, 20)},
		// Written by a program that is newer than this one.
		{name: "newer format", hurt: func(s *scene) { *s.index = index.Mem{}; s.newer(1) }, refused: segment.ErrVersion},
	} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { k.run(t, false) })
		})
		t.Run(k.name+", repaired", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { k.run(t, true) })
		})
	}
}

const sceneSize = 500 // of each record

// run opens the spool, or repairs it and opens it then: the outcome is the same.
func (k *knownError) run(t *testing.T, repaired bool) {
	s := newScene(t, k)
	k.hurt(s)
	if repaired {
		s.repair(k.refused != nil)
	}
	sp, err := s.d.tryOpen(t, s.options)
	if k.refused != nil {
		if !errors.Is(err, k.refused) {
			t.Fatalf("opened with %v", err)
		}
		if _, err := s.d.fs.Stat(s.seg[1]); err != nil {
			t.Errorf("what is refused is touched: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	end := k.end
	if end == 0 {
		end = 30
	}
	if got := sp.Stats().Appended; got != end {
		t.Fatalf("the log ends with %d, not %d", got, end)
	}
	mustAppend(t, sp, batch(int(end)+1, 2, sceneSize))
	end += 2
	mustSeal(t, sp)
	c, err := sp.shelf.Chain("a")
	if err != nil {
		t.Fatal(err)
	}
	got, gaps := map[uint64]string{}, []segment.Range{}
	for _, seg := range sp.shelf.Sealed(c.Segment, 0) {
		rec, err := sp.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
		if err != nil {
			t.Fatal(err)
		}
		readStaged(t, sp, rec, got)
		gaps = append(gaps, rec.Gaps...)
	}
	var missing uint64
	for i := c.Through + 1; i <= end; i++ {
		if k.lost != nil && i >= k.lost.First && i <= k.lost.Last {
			missing++
			if _, ok := got[i]; ok {
				t.Errorf("record %d is there", i)
			}
		} else if want := string(record(int(i), sceneSize).Data); got[i] != want {
			t.Errorf("record %d is %.30q", i, got[i])
		}
	}
	if k.lost == nil && len(gaps) > 0 || k.lost != nil && (len(gaps) != 1 || gaps[0] != *k.lost) {
		t.Errorf("gaps %v, want %v", gaps, k.lost)
	}
	if l := sp.Ledger(); l.Damaged.Records != missing {
		t.Errorf("damaged %+v, want %d", l.Damaged, missing)
	}
	balanced(t, sp)
	deliver(t, sp, "a", lastSegment(sp))
	until(t, sp, "deleted", func() bool { return sp.Stats().Segments == 0 })
	balanced(t, sp)
}

func newScene(t *testing.T, k *knownError) *scene {
	t.Helper()
	mem := vfs.NewMem()
	idx := new(index.Mem)
	s := &scene{T: t, d: &disk{fs: mem, dir: "/spool", index: idx.Open}, index: idx}
	s.options = Options{Destinations: []string{"a"}, Sync: SyncAlways, SegmentAge: time.Hour}
	sp := s.d.open(t, s.options)
	for i := range 15 {
		if i == 10 && k.noActive {
			break
		}
		mustAppend(t, sp, batch(1+2*i, 2, sceneSize))
		if i == 4 || i == 9 {
			mustSeal(t, sp)
		}
	}
	if k.acked == 3 {
		mustSeal(t, sp)
	}
	release := sp.shelf.hold() // as if the process ended before it came to delete them
	defer release()
	segs := sp.shelf.Sealed(0, 0)
	for i, seg := range segs {
		s.numbers[i] = seg.Number
	}
	if k.acked < 3 && !k.noActive {
		s.numbers[2] = sp.journal.active.number
	}
	for i, n := range s.numbers {
		s.seg[i] = sp.segPath(n)
	}
	if k.acked > 0 {
		deliver(t, sp, "a", s.numbers[k.acked-1])
	}
	synctest.Wait()
	sp.journal.markDurable() // as after a second
	if k.orderly {
		closeSpool(t, sp)
	} else {
		s.d.fs = mem.CrashClone(processDies)
		s.index = idx.Crash(index.Fate{})
		s.d.index = s.index.Open
		closeSpool(t, sp)
	}
	return s
}

// repair plans a repair and carries it out. refused: there is none.
func (s *scene) repair(refused bool) {
	s.Helper()
	look := func(fsys vfs.FS, dir string, log *slog.Logger) (index.Index, bool, error) {
		return s.index.Crash(index.Fate{}).Open(fsys, dir, log)
	}
	p, err := planRepair(repairer{dir: s.d.dir, fs: s.d.fs, look: look, open: s.d.index}, nil)
	if err != nil {
		s.Fatal(err)
	}
	if refused != (p.Refused != "") {
		s.Fatalf("refused: %q", p.Refused)
	}
	if _, err := p.Apply(); err != nil && !refused {
		s.Fatal(err)
	}
}

// block returns the offset of the block that begins with record i in a segment, and the file's bytes.
func (s *scene) block(seg int, i uint64) (off int64, data []byte) {
	s.Helper()
	data, err := vfs.ReadFile(s.d.fs, s.seg[seg], 1<<30)
	if err != nil {
		s.Fatal(err)
	}
	at := bytes.Index(data, fmt.Appendf(nil, "record %d ", i))
	if at < 0 {
		s.Fatalf("record %d is not in segment %d", i, seg)
	}
	r := record(int(i), sceneSize)
	return int64(at - (r.Size() - len(r.Data)) - segment.BlockHeaderSize), data
}

func (s *scene) write(seg int, b []byte, off int64) {
	s.Helper()
	f, err := s.d.fs.OpenRW(s.seg[seg])
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, off); err != nil {
		s.Fatal(err)
	}
}

// flip changes a bit of record i.
func (s *scene) flip(seg int, i int) { flip(s.T, s.d, s.seg[seg], i) }

// zero overwrites n bytes of the block that begins with record i.
func (s *scene) zero(seg int, i uint64, n int) {
	off, _ := s.block(seg, i)
	s.write(seg, make([]byte, n), off)
}

// cut ends a segment in the block that begins with record i.
func (s *scene) cut(seg int, i uint64, in int64) {
	off, _ := s.block(seg, i)
	f, err := s.d.fs.OpenRW(s.seg[seg])
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(off + in); err != nil {
		s.Fatal(err)
	}
	*s.index = index.Mem{} // which would say how long it was
}

// become gives a segment's file the blocks of another segment, with a header of which a bit is wrong.
func (s *scene) become(seg, other int) {
	s.Helper()
	b, err := vfs.ReadFile(s.d.fs, s.seg[other], 1<<30)
	if err != nil {
		s.Fatal(err)
	}
	b = b[:bytes.Index(b, []byte("record 9 "))&^4095] // without its footer, which would tell
	b[200] ^= 1
	s.truncate(seg, 0)
	s.write(seg, b, 0)
}

// truncate cuts a segment to n bytes. The index goes on saying how long it was.
func (s *scene) truncate(seg int, n int64) {
	s.Helper()
	f, err := s.d.fs.OpenRW(s.seg[seg])
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(n); err != nil {
		s.Fatal(err)
	}
}

// zeroAt overwrites n bytes of a segment.
func (s *scene) zeroAt(seg int, off int64, n int) { s.write(seg, make([]byte, n), off) }

// unnote removes the note of the newest segment.
func (s *scene) unnote() {
	s.Helper()
	if err := s.d.fs.Remove("/spool/" + begunName); err != nil {
		s.Fatal(err)
	}
}

// clean writes the mark of an orderly end, with the active segment durable up to end.
func (s *scene) clean(next uint64, end int64) {
	s.Helper()
	b, err := statefile.Seal(cleanMark{Version: 1, Segment: s.numbers[2], End: end, Next: next})
	if err == nil {
		err = vfs.WriteFileAtomic(s.d.fs, "/spool/"+cleanName, b)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// scramble makes the records of a block nonsense, under a checksum that holds.
func (s *scene) scramble(seg int, i uint64) {
	s.restamp(seg, i, func(_ *segment.BlockHeader, payload []byte) {
		for j := range payload {
			payload[j] = 0xff
		}
	})
}

// unmark removes from the blocks of the last two commits the mark that earlier blocks are durable.
func (s *scene) unmark() {
	off, _ := s.block(2, 27)
	for _, i := range []uint64{27, 29} {
		s.restamp(2, i, func(h *segment.BlockHeader, _ []byte) { h.Durable = uint32(off) })
	}
}

func (s *scene) restamp(seg int, i uint64, change func(h *segment.BlockHeader, payload []byte)) {
	s.Helper()
	off, data := s.block(seg, i)
	header, err := segment.DecodeHeader(data[:headerPad])
	if err != nil {
		s.Fatal(err)
	}
	r := record(int(i), sceneSize)
	q := record(int(i+1), sceneSize)
	b := data[off : off+int64(segment.BlockHeaderSize+r.Size()+q.Size())]
	h := segment.BlockHeader{
		Generation: header.Generation, Offset: off, First: i, Count: 2, Durable: uint32(off), Type: segment.RecordBlock,
	}
	change(&h, b[segment.BlockHeaderSize:])
	segment.Stamp(b, h)
	s.write(seg, b, off)
}

func (s *scene) remove(seg int) {
	if err := errors.Join(s.d.fs.Remove(s.seg[seg]), s.d.fs.SyncDir("/spool/"+segDir)); err != nil {
		s.Fatal(err)
	}
	if _, err := s.d.fs.Stat(s.seg[seg]); !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
}

// newer gives a segment the version that comes after this one's.
func (s *scene) newer(seg int) {
	_, data := s.block(seg, 11)
	data[8]++
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	h := crc32.Checksum(data[:16], castagnoli)
	h = crc32.Update(h, castagnoli, data[20:headerPad])
	binary.LittleEndian.PutUint32(data[16:], h)
	s.write(seg, data[:headerPad], 0)
}
