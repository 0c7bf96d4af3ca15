package segment

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

var benchSizes = []int{256, 512, 1400}

// BenchmarkWrite builds blocks as the spool does: records appended, block stamped and counted.
func BenchmarkWrite(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMade(b, testHeader(), 4096)
			r := testRecord(3, n)
			r.Attrs = nil
			buf := make([]byte, BlockHeaderSize, BlockTarget)
			perBlock := (BlockTarget - BlockHeaderSize) / r.Size()
			seq, offset := uint64(1000), int64(4096)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				buf = AppendRecord(buf, &r)
				if i%perBlock < perBlock-1 {
					continue
				}
				if offset > MaxSize/2 {
					offset = 4096 // the index grows in a file, not without end
					m.b.f.Index = m.b.f.Index[:0]
				}
				Stamp(buf, BlockHeader{
					Generation: 7, Offset: offset, First: seq, Count: uint32(perBlock), Durable: uint32(offset), Type: RecordBlock,
				})
				m.b.Add(offset, buf)
				seq += uint64(perBlock)
				offset = Align(offset + int64(len(buf)))
				buf = buf[:BlockHeaderSize]
			}
		})
	}
}

// BenchmarkRead reads records from memory.
func BenchmarkRead(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMade(b, testHeader(), 4096)
			m.plain = true
			per := (BlockTarget - BlockHeaderSize) / RecordSize(n+BlockTarget/n, testRecord(1, 1).Src)
			for len(m.data) < 32<<20 {
				m.records(per, n, 0)
			}
			m.seal(b)
			f, _ := m.open(b, ReadOptions{}).Footer()
			r := m.open(b, ReadOptions{})
			b.SetBytes(int64(f.Bytes / f.Records))
			b.ReportAllocs()
			for b.Loop() {
				_, _, err := r.Next()
				if err == io.EOF {
					err = r.Seek(0)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScanTail is what opening an active segment costs that was made ready, and has hardly been written to.
func BenchmarkScanTail(b *testing.B) {
	m := newMade(b, testHeader(), 4096)
	m.records(10, 512, 0)
	data := append(m.data, make([]byte, 64<<20)...)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Scan(bytes.NewReader(data), int64(len(data)), nil); err != nil {
			b.Fatal(err)
		}
	}
}
