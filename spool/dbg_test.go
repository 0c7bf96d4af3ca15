package spool

import (
	"encoding/binary"
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

func dumpSegs(fs vfs.FS) (out string) {
	es, _ := fs.ReadDir("/spool/seg")
	for _, e := range es {
		f, _ := fs.Open("/spool/seg/" + e.Name())
		size, _ := f.Size()
		b := make([]byte, size)
		f.ReadAt(b, 0)
		h, err := segment.DecodeHeader(b)
		out += fmt.Sprintf("%s size %d", e.Name(), size)
		if err != nil {
			out += " " + err.Error() + "\n"
			continue
		}
		out += fmt.Sprintf(" first %d epoch %d\n", h.First, h.Epoch)
		for off := 4096; off+32 < len(b); off += 16 {
			if binary.LittleEndian.Uint32(b[off:]) == uint32(h.Generation) {
				out += fmt.Sprintf("   block at %d len %d count %d first %d durable %d type %d\n", off, binary.LittleEndian.Uint32(b[off+8:]), binary.LittleEndian.Uint32(b[off+12:]), binary.LittleEndian.Uint64(b[off+16:]), binary.LittleEndian.Uint32(b[off+24:]), b[off+28])
			}
		}
	}
	return out
}
