package spool

import (
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// Recovery reads the writes of a process that died from the kernel's page cache. They may not be on the disk, and may never
// get there: after a failed sync the kernel may mark pages as clean, and later syncs skip them. So all bytes that are not known to
// be synced are written again, byte for byte, before they count as durable. ("Can Applications Recover from fsync
// Failures?", USENIX ATC 2020, finds programs that do not do this.)

// rewrite makes the bytes of a file in [from, to) durable, and everything else that was written and not synced.
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

// keepSeal makes the newest footer and trailer durable. All older ones are durable, since a segment is sealed only after the one
// before it. If the newest seal were used and then lost in a power cut, the segment would become active again, although it may have
// been delivered already.
func (r *recovery) keepSeal() error {
	for i := len(r.parts) - 1; i >= 0; i-- {
		p := r.parts[i]
		switch {
		case p.sealed == nil:
			continue
		case p.seal == 0 || r.s.source != nil: // the index lists the segment; or nothing may be changed
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
