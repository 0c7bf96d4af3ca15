package compress

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestTools reads our output with the usual command-line tools.
func TestTools(t *testing.T) {
	for _, tc := range []struct{ codec, tool string }{{"zstd", "zstd"}, {"gzip", "gzip"}, {"lz4", "lz4"}} {
		t.Run(tc.codec, func(t *testing.T) {
			path := tool(t, tc.tool)
			c, err := ByName(tc.codec)
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range [][]byte{nil, firewall(2*zstdWindow + 1), firewall(zstdWindow), noise(100)} {
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

// TestToolsWrite reads the output of the tools, with options that our writers do not use.
func TestToolsWrite(t *testing.T) {
	for _, tc := range []struct {
		codec, tool string
		options     []string
	}{
		{"zstd", "zstd", nil},
		{"zstd", "zstd", []string{"--no-check", "-9", "--no-content-size"}},
		{"gzip", "gzip", []string{"-9"}},
		{"lz4", "lz4", nil},
		{"lz4", "lz4", []string{"-B4", "-BD", "-BX", "--content-size"}},
		{"lz4", "lz4", []string{"--no-frame-crc", "-9"}},
	} {
		path := tool(t, tc.tool)
		c, err := ByName(tc.codec)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{nil, []byte("x"), firewall(2*zstdWindow + 1), noise(100_000)} {
			file := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			packed, err := exec.Command(path, append(tc.options, "-c", file)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := unpack(t, c, bytes.NewReader(packed)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s %v of %d bytes: %d, %v", tc.tool, tc.options, len(data), len(got), err)
			}
		}
	}
}

// TestOneFrame decodes our output as the strictest readers in use do. Many stop at the end of the first frame. The Java one
// of Athena, Trino and Presto knows data frames without a dictionary, with windows of up to 8 MiB, and refuses everything
// else, skippable frames too.
func TestOneFrame(t *testing.T) {
	for _, level := range levels(zstdCodec) {
		for _, n := range []int{0, 1, zstdWindow, 2*zstdWindow + 77} {
			data := firewall(n)
			packed := pack(t, zstdCodec, level, data, 10_000)
			var h zstd.Header
			if err := h.Decode(packed); err != nil {
				t.Fatal(err)
			}
			if h.Skippable || h.WindowSize > 8<<20 || h.DictionaryID != 0 || !h.HasCheckSum {
				t.Fatalf("level %d, %d bytes: %+v", level, n, h)
			}
			end := frameEndOf(packed)
			dec, err := zstd.NewReader(bytes.NewReader(packed[:end]), zstd.WithDecoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(dec)
			dec.Close()
			if err != nil || !bytes.Equal(got, data) || end != len(packed) {
				t.Errorf("level %d, %d bytes: the first frame has %d, and ends at %d of %d, %v", level, n, len(got), end, len(packed), err)
			}
		}
	}
}

// frameEndOf returns where the first frame ends.
func frameEndOf(packed []byte) int {
	var h zstd.Header
	if h.Decode(packed) != nil {
		return -1
	}
	end := h.HeaderSize
	for last := false; !last; {
		block := uint32(packed[end]) | uint32(packed[end+1])<<8 | uint32(packed[end+2])<<16
		if last = block&1 != 0; block>>1&3 == 1 {
			end += 4
		} else {
			end += 3 + int(block>>3)
		}
	}
	return end + 4 // the checksum
}

// TestBehindFrame: bytes after the frame are refused even if other readers would skip them or never see them.
func TestBehindFrame(t *testing.T) {
	packed := pack(t, zstdCodec, 1, firewall(5000), 0)
	skippable := "\x50\x2a\x4d\x18\x02\x00\x00\x00hi"
	for what, in := range map[string]string{
		"a skippable frame behind": string(packed) + skippable,
		"a skippable frame before": skippable + string(packed),
		"a skippable frame alone":  skippable,
		"another frame":            string(packed) + string(packed),
		"an empty frame":           string(packed) + string(pack(t, zstdCodec, 1, nil, 0)),
	} {
		if got, err := unpack(t, zstdCodec, strings.NewReader(in)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
}

// TestBehindLZ4: as with zstd; the older format has neither end mark nor checksum.
func TestBehindLZ4(t *testing.T) {
	packed := string(pack(t, lz4Codec, 1, firewall(5000), 0))
	for what, more := range map[string]string{
		"skippable frame": "\x50\x2a\x4d\x18\x02\x00\x00\x00hi", "legacy frame": "\x02\x21\x4c\x18", "zeros": "\x00\x00\x00\x00",
	} {
		for _, in := range []string{packed + more, more + packed} {
			if got, err := unpack(t, lz4Codec, strings.NewReader(in)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d bytes, %v", what, len(got), err)
			}
		}
	}
}

// TestHostileWindow: a few bytes must not make a reader allocate gigabytes.
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
