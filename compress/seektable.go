package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
)

// The seekable format of the zstd project (contrib/seekable_format, version 0.1.0): a skippable frame at the end.
//
//	offset  size    field
//	0       4       0x184D2A5E, a skippable frame to every zstd decoder
//	4       4       length of what follows
//	8       8 or 12 one entry a frame: compressed size (4), decompressed size (4), with flag also a checksum (4)
//	end−9   4       number of frames
//	end−5   1       bit 7: entries have checksums; bits 6–2 reserved, zero
//	end−4   4       0x8F92EAB1
const (
	seekMagic      = 0x184D2A5E
	seekEndMagic   = 0x8F92EAB1
	seekFooterSize = 9
	// seekMaxFrames is the format's own limit.
	seekMaxFrames = 0x8000000
)

// seekTable collects the table while a file is written. We write no checksums: each frame carries one of its content.
type seekTable struct {
	frames  uint32
	entries []byte
}

func (t *seekTable) reset() { t.frames, t.entries = 0, t.entries[:0] }

func (t *seekTable) add(compressed, content uint32) {
	t.frames++
	t.entries = binary.LittleEndian.AppendUint32(t.entries, compressed)
	t.entries = binary.LittleEndian.AppendUint32(t.entries, content)
}

func (t *seekTable) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, seekMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.entries)+seekFooterSize))
	b = append(b, t.entries...)
	b = binary.LittleEndian.AppendUint32(b, t.frames)
	b = append(b, 0)
	return binary.LittleEndian.AppendUint32(b, seekEndMagic)
}

// seekFooter reads the last nine bytes of a table: how many entries of which size lie before them.
func seekFooter(b []byte) (frames, entrySize uint32, err error) {
	frames = binary.LittleEndian.Uint32(b)
	switch flags := b[4]; {
	case binary.LittleEndian.Uint32(b[5:]) != seekEndMagic:
		return 0, 0, errors.New("no seek table at the end: cut off, or not written by this package")
	case frames > seekMaxFrames || flags&0x7c != 0:
		return 0, 0, errors.New("damaged seek table")
	case flags&0x80 != 0:
		return frames, 12, nil
	}
	return frames, 8, nil
}

// seekCheck compares the frames of a stream with the table behind them, in constant memory whatever a stranger sends:
// it keeps a checksum of the entries instead of the entries.
type seekCheck struct {
	frames uint32
	sum    uint64
}

var seekSum = crc64.MakeTable(crc64.ECMA)

func (c *seekCheck) add(compressed, content int64) error {
	if compressed > 1<<32-1 || content > 1<<32-1 || c.frames == seekMaxFrames {
		return errors.New("more than a seek table can hold")
	}
	var e [8]byte
	binary.LittleEndian.PutUint32(e[:], uint32(compressed))
	binary.LittleEndian.PutUint32(e[4:], uint32(content))
	c.entry(e[:])
	return nil
}

func (c *seekCheck) entry(e []byte) {
	c.frames++
	c.sum = crc64.Update(c.sum, seekSum, e[:8])
}

// verify reads a table of size bytes (without its eight bytes of frame header) and compares it.
func (c *seekCheck) verify(r io.Reader, size uint32) error {
	want := uint64(c.frames)*8 + seekFooterSize
	entrySize := 8
	if size != uint32(want) || want > 1<<32-1 {
		if want += uint64(c.frames) * 4; uint64(size) != want {
			return fmt.Errorf("seek table of %d bytes does not fit the %d frames before it", size, c.frames)
		}
		entrySize = 12
	}
	var table seekCheck
	var b [12]byte
	for range c.frames {
		if _, err := io.ReadFull(r, b[:entrySize]); err != nil {
			return err
		}
		table.entry(b[:])
	}
	if _, err := io.ReadFull(r, b[:seekFooterSize]); err != nil {
		return err
	}
	frames, footerSize, err := seekFooter(b[:seekFooterSize])
	if err != nil {
		return err
	}
	if frames != c.frames || int(footerSize) != entrySize || table != *c {
		return errors.New("seek table does not match the frames before it")
	}
	return nil
}
