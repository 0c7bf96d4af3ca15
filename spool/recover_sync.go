package spool

import (
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// What a process that died had written, recovery reads from the kernel's memory. It may not be on the disk, and may never
// get there: a sync that failed leaves pages that count as written, which later syncs pass over. So what no sync is known
// to have kept is written once more, byte for byte, before it is called durable. ("Can Applications Recover from fsync
// Failures?", USENIX ATC 2020, finds programs that do not.)

// rewrite makes the bytes of a file in [from, to) durable, with everything else that was written and not synced.
func rewrite(f vfs.File, from, to int64) error {
	b := make([]byte, min(1<<20, max(0, to-from)))
	for ; from < to; from += int64(len(b)) {
		b = b[:min(int64(len(b)), to-from)]
		if n, err := f.ReadAt(b, from); n < len(b) {
			return err
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return err
		}
	}
	return f.Sync()
}

// keepSeal makes the newest seal durable. It is the only one that may not be: a segment is sealed once the one before it
// is. Were it believed and then lost, the segment would be taken for the active one, behind the back of whoever has
// delivered it already.
func (r *recovery) keepSeal() error {
	for i := len(r.parts) - 1; i >= 0; i-- {
		p := r.parts[i]
		switch {
		case p.sealed == nil:
			continue
		case p.seal == 0 || r.s.source != nil: // the index knows it; or nothing is changed
			return nil
		}
		f, err := r.s.fs.OpenRW(r.s.segPath(p.number))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := rewrite(f, p.size-p.seal, p.size); err != nil {
			return fmt.Errorf("sync the seal of segment %d: %w", p.number, err)
		}
		return nil
	}
	return nil
}

// sealSize returns the length of footer and trailer.
func sealSize(footer []byte) int64 {
	return int64(segment.Align(segment.BlockHeaderSize+len(footer)) + segment.TrailerSize)
}
