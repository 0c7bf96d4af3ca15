package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestTools reads what we write with the tools that people have.
func TestTools(t *testing.T) {
	for _, tc := range []struct{ codec, tool string }{{"zstd", "zstd"}, {"gzip", "gzip"}, {"lz4", "lz4"}} {
		t.Run(tc.codec, func(t *testing.T) {
			path := tool(t, tc.tool)
			c, err := ByName(tc.codec)
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range [][]byte{nil, firewall(2*frameSize + 1), noise(100)} {
				file := filepath.Join(t.TempDir(), "x"+c.Info().Ext)
				if err := os.WriteFile(file, pack(t, c, 0, data, 0), 0o600); err != nil {
					t.Fatal(err)
				}
				var stderr bytes.Buffer
				cmd := exec.Command(path, "-dc", file)
				cmd.Stderr = &stderr
				got, err := cmd.Output()
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s -dc of %d bytes gave %d, %v, %s", tc.tool, len(data), len(got), err, &stderr)
				}
				if out, err := exec.Command(path, "-t", file).CombinedOutput(); err != nil {
					t.Errorf("%s -t of %d bytes: %v, %s", tc.tool, len(data), err, out)
				}
			}
		})
	}
}

// TestSeekTable reads the table as the format's description says, independently of seekTable.
func TestSeekTable(t *testing.T) {
	for _, n := range []int{0, 1, frameSize, 2*frameSize + 77} {
		data := firewall(n)
		packed := pack(t, zstdCodec, 1, data, 10_000)
		le := binary.LittleEndian
		if le.Uint32(packed[len(packed)-4:]) != 0x8F92EAB1 || packed[len(packed)-5] != 0 {
			t.Fatalf("%d bytes: footer % x", n, packed[len(packed)-9:])
		}
		frames := int(le.Uint32(packed[len(packed)-9:]))
		if want := max(1, (n+frameSize-1)/frameSize); frames != want {
			t.Fatalf("%d bytes: %d frames, not %d", n, frames, want)
		}
		start := len(packed) - 9 - frames*8 - 8
		if le.Uint32(packed[start:]) != 0x184D2A5E || int(le.Uint32(packed[start+4:])) != frames*8+9 {
			t.Fatalf("%d bytes: header % x", n, packed[start:start+8])
		}
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		at, content := 0, 0
		for i := range frames {
			entry := packed[start+8+i*8:]
			size, length := int(le.Uint32(entry)), int(le.Uint32(entry[4:]))
			got, err := dec.DecodeAll(packed[at:at+size], nil) // each frame decodes by itself
			if err != nil || !bytes.Equal(got, data[content:content+length]) {
				t.Fatalf("%d bytes: frame %d: %d bytes, %v", n, i, len(got), err)
			}
			at, content = at+size, content+length
		}
		dec.Close()
		if at != start || content != n {
			t.Fatalf("%d bytes: table covers %d of %d bytes, %d of content", n, at, start, content)
		}
	}
}

// TestSeekTableMustMatch: a frame left out, doubled or put elsewhere leaves a file that every zstd decoder accepts.
func TestSeekTableMustMatch(t *testing.T) {
	data := firewall(3*frameSize + 5) // four frames
	packed := pack(t, zstdCodec, 1, data, 0)
	s, err := NewSeekable(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	frame := func(i int) []byte { return packed[s.compressed[i]:s.compressed[i+1]] }
	table := packed[s.compressed[4]:]
	empty := pack(t, zstdCodec, 1, nil, 0) // one frame, and a table of 25 bytes
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, file := range map[string][]byte{
		"left out":     join(frame(0), frame(2), frame(3), table),
		"doubled":      join(frame(0), frame(1), frame(1), frame(2), frame(3), table),
		"swapped":      join(frame(0), frame(2), frame(1), frame(3), table),
		"no table":     join(frame(0), frame(1), frame(2), frame(3)),
		"two tables":   join(packed, table),
		"only a table": table,
		"skippable":    join(packed, []byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'h', 'i'}),
		"other table":  join(packed[:s.compressed[4]], empty[len(empty)-25:]),
	} {
		if got, err := unpack(t, zstdCodec, bytes.NewReader(file)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if plain, err := zstd.NewReader(bytes.NewReader(file)); err == nil {
			if _, err := io.Copy(io.Discard, plain); err != nil && name != "other table" {
				t.Errorf("%s: a plain decoder notices too (%v): the case shows nothing", name, err)
			}
			plain.Close()
		}
	}
	// A table with checksums, as other writers of the format make it.
	var sums []byte
	sums = append(sums, table[:4]...)
	sums = binary.LittleEndian.AppendUint32(sums, 4*12+9)
	for i := range 4 {
		sums = append(sums, table[8+i*8:16+i*8]...)
		sums = append(sums, frame(i)[len(frame(i))-4:]...)
	}
	sums = append(sums, table[len(table)-9:]...)
	sums[len(sums)-5] = 0x80
	file := join(packed[:s.compressed[4]], sums)
	if got, err := unpack(t, zstdCodec, bytes.NewReader(file)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("table with checksums: %d bytes, %v", len(got), err)
	}
	if s, err := NewSeekable(bytes.NewReader(file), int64(len(file))); err != nil || s.Size() != int64(len(data)) {
		t.Errorf("table with checksums: %v", err)
	}
}

func TestSeekable(t *testing.T) {
	for _, n := range []int{0, 1, 2*frameSize + 500} {
		data := firewall(n)
		packed := pack(t, zstdCodec, 1, data, 0)
		s, err := NewSeekable(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			t.Fatal(err)
		}
		if s.Size() != int64(n) {
			t.Fatalf("size %d, not %d", s.Size(), n)
		}
		plain := bytes.NewReader(data)
		rng := rand.New(rand.NewPCG(3, 4))
		for range 25 {
			off := rng.Int64N(int64(n) + 3)
			length := rng.IntN(200_000)
			got, want := make([]byte, length), make([]byte, length)
			gn, gerr := s.ReadAt(got, off)
			wn, werr := plain.ReadAt(want, off)
			if length == 0 {
				werr = nil // io.ReaderAt leaves this open
			}
			if gn != wn || gerr != werr || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes at %d of %d: %d %v, want %d %v", length, off, n, gn, gerr, wn, werr)
			}
		}
		if _, err := s.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("negative offset accepted")
		}
		for cut := range min(len(packed), 60) {
			if _, err := NewSeekable(bytes.NewReader(packed), int64(len(packed)-1-cut)); err == nil {
				t.Fatalf("%d of %d bytes accepted", len(packed)-1-cut, len(packed))
			}
		}
	}
}

// TestHostileWindow: a few bytes may not make a reader allocate gigabytes.
func TestHostileWindow(t *testing.T) {
	for name, head := range map[string][]byte{
		"window":         {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00},
		"single segment": {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 4, 0, 0, 0, 0x01, 0, 0},
	} {
		file := (&seekTable{}).appendTo(head)
		before := testing.AllocsPerRun(1, func() {
			if _, err := unpack(t, zstdCodec, bytes.NewReader(file)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if before > 200 {
			t.Errorf("%s: %v allocations", name, before)
		}
	}
}
