package compress

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
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
			for _, data := range [][]byte{nil, firewall(2*frameSize + 1), firewall(frameSize), noise(100)} {
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

// TestDataFramesOnly decodes what we write as the strictest readers in use do: the Java one of Athena, Trino and Presto
// knows data frames without a dictionary, with windows of up to 8 MiB, and refuses everything else, skippable frames too.
func TestDataFramesOnly(t *testing.T) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for _, level := range levels(zstdCodec) {
		for _, n := range []int{0, 1, frameSize - 1, frameSize, 2*frameSize + 77} {
			data := firewall(n)
			var content []byte
			frames := 0
			for rest := pack(t, zstdCodec, level, data, 10_000); len(rest) > 0; frames++ {
				if magic := binary.LittleEndian.Uint32(rest); magic != 0xFD2FB528 {
					t.Fatalf("level %d, %d bytes: frame %d begins with %#x", level, n, frames, magic)
				}
				var h zstd.Header
				if err := h.Decode(rest); err != nil {
					t.Fatal(err)
				}
				if h.WindowSize > 8<<20 || h.DictionaryID != 0 || !h.HasCheckSum {
					t.Fatalf("level %d, %d bytes: frame %d: %+v", level, n, frames, h)
				}
				end := h.HeaderSize
				for last := false; !last; {
					block := uint32(rest[end]) | uint32(rest[end+1])<<8 | uint32(rest[end+2])<<16
					if last = block&1 != 0; block>>1&3 == 1 {
						end += 4
					} else {
						end += 3 + int(block>>3)
					}
				}
				end += 4                                       // the checksum
				got, err := dec.DecodeAll(rest[:end:end], nil) // each frame decodes by itself
				if err != nil || h.HasFCS != (len(got) >= 256) || h.HasFCS && h.FrameContentSize != uint64(len(got)) {
					t.Fatalf("level %d, %d bytes: frame %d: %d bytes, %v", level, n, frames, len(got), err)
				}
				content = append(content, got...)
				rest = rest[end:]
			}
			if !bytes.Equal(content, data) || frames != n/frameSize+1 {
				t.Errorf("level %d, %d bytes: %d in %d frames", level, n, len(content), frames)
			}
		}
	}
}

// withTable are files as this package wrote them when it put a seek table behind the frames: of no content, of one byte,
// and of a whole frame of zeros, behind which nothing but the table tells the end.
var withTable = map[string][]byte{
	"28b52ffd045001000099e9d8515e2a4d18110000000d000000000000000100000000b1ea928f":   nil,
	"28b52ffd040009000078231104835e2a4d18110000000e000000010000000100000000b1ea928f": {'x'},
	"28b52ffd845000001000020010005c0000000154001134fdff0000025c0000000154001134fdff0200025c0000000154001134fdff0200025c0000" +
		"000154001134fdff0200025c0000000154001134fdff0200025c0000000154001134fdff0200025c0000000154001134fdff02000201000" +
		"0f13e16e15e2a4d181100000077000000000010000100000000b1ea928f": make([]byte, frameSize),
}

// TestSeekTable: objects of earlier versions stay readable, and nothing else may stand behind a frame.
func TestSeekTable(t *testing.T) {
	const tableSize = 8 + 8 + 9
	for file, want := range withTable {
		packed, err := hex.DecodeString(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unpack(t, zstdCodec, bytes.NewReader(packed))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", len(want), len(got), err)
		}
		twice := append(bytes.Clone(packed), packed...)
		for _, in := range [][]byte{packed, twice} {
			s, err := NewSeekable(bytes.NewReader(in), int64(len(in)))
			if err != nil {
				t.Fatal(err)
			}
			all := make([]byte, s.Size()+1)
			if n, err := s.ReadAt(all, 0); n != len(want)*len(in)/len(packed) || err != io.EOF || !bytes.HasPrefix(all, want) {
				t.Errorf("%d bytes, seekable: %d, %v", len(want), n, err)
			}
		}
		table := packed[len(packed)-tableSize:]
		for name, bad := range map[string][]byte{
			"two tables":   append(bytes.Clone(packed), table...),
			"only a table": table,
			"table cut":    packed[:len(packed)-1],
			"skippable":    append(bytes.Clone(packed), 0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'h', 'i'),
		} {
			if got, err := unpack(t, zstdCodec, bytes.NewReader(bad)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d bytes, %s: %d, %v", len(want), name, len(got), err)
			}
			if _, err := NewSeekable(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d bytes, %s, seekable: %v", len(want), name, err)
			}
		}
	}
}

// TestCutBetweenFrames: every zstd decoder takes the end of a frame for the end of the content.
func TestCutBetweenFrames(t *testing.T) {
	for _, n := range []int{2 * frameSize, 3*frameSize + 5} {
		packed := pack(t, zstdCodec, 1, firewall(n), 0)
		s, err := NewSeekable(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(s.compressed) - 1 {
			cut := packed[:s.compressed[i]]
			if got, err := unpack(t, zstdCodec, bytes.NewReader(cut)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d of %d frames: %d bytes, %v", i, len(s.compressed)-1, len(got), err)
			}
			if _, err := NewSeekable(bytes.NewReader(cut), int64(len(cut))); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d of %d frames, seekable: %v", i, len(s.compressed)-1, err)
			}
			plain, err := zstd.NewReader(bytes.NewReader(cut))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, plain); err != nil {
				t.Errorf("a plain decoder notices too (%v): the case shows nothing", err)
			}
			plain.Close()
		}
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
		file := append(head, pack(t, zstdCodec, 1, nil, 0)...)
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
