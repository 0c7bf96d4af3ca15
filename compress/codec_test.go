package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

func TestRoundTrip(t *testing.T) {
	text := firewall(zstdWindow + 1)
	contents := map[string][]byte{"empty": nil, "one byte": {'x'}, "text": text[:100_000], "noise": noise(70_000)}
	big := map[string][]byte{"zeros": make([]byte, 2*zstdWindow+1)}
	for _, n := range []int{zstdWindow - 1, zstdWindow, zstdWindow + 1} {
		big[fmt.Sprint(n, " bytes")] = text[:n]
	}
	check := func(t *testing.T, c Codec, level int, contents map[string][]byte) {
		for name, data := range contents {
			packed := pack(t, c, level, data, 0)
			got, err := unpack(t, c, bytes.NewReader(packed))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("level %d, %s: %d of %d bytes, %v", level, name, len(got), len(data), err)
			}
			if c.Info().Ext != "" && len(packed) == 0 {
				t.Errorf("level %d, %s: nothing written: a file cut to nothing would look complete", level, name)
			}
		}
	}
	each(t, func(t *testing.T, c Codec) {
		check(t, c, 0, big)
		for _, level := range levels(c) {
			check(t, c, level, contents)
		}
	})
}

// TestSameBytes: the output depends neither on how the input was cut into writes nor on what the pooled encoder did before.
func TestSameBytes(t *testing.T) {
	small := append(firewall(100_000), noise(5000)...)
	big := append(firewall(zstdWindow+100_000), noise(5000)...)
	other := append(noise(7000), firewall(90_000)...)
	check := func(t *testing.T, c *codec, level int, data []byte) {
		var fresh bytes.Buffer
		enc := c.newEncoder(level)
		enc.Reset(&fresh)
		if _, err := enc.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		for round, step := range []int{0, 4096, 65_537} {
			pack(t, c, level, other[:len(other)>>round], 0)
			if !bytes.Equal(fresh.Bytes(), pack(t, c, level, data, step)) {
				t.Errorf("level %d: other bytes than a fresh encoder's, in writes of %d", level, step)
			}
		}
	}
	each(t, func(t *testing.T, c Codec) {
		check(t, c.(*codec), c.Info().DefaultLevel, big)
		for _, level := range levels(c) {
			check(t, c.(*codec), level, small)
		}
	})
}

// TestTruncated cuts a stream at every position: a reader may return what precedes the cut, but must never report it as
// complete.
func TestTruncated(t *testing.T) {
	each(t, func(t *testing.T, c Codec) {
		if c.Info().Ext == "" {
			t.Skip("the bytes as they are: size and hash are compared by the caller")
		}
		contents := [][]byte{nil, firewall(180), noise(40)}
		for _, data := range contents {
			packed := pack(t, c, 0, data, 0)
			for n := range packed {
				got, err := unpack(t, c, bytes.NewReader(packed[:n]))
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%d bytes cut to %d of %d: %d bytes, error %v", len(data), n, len(packed), len(got), err)
				}
			}
		}
		// Several frames, chunks or blocks, cut near their ends, which a search for the next one could mistake.
		data := noise(zstdWindow + 10)
		packed := pack(t, c, 0, data, 0)
		for _, near := range []int{zstdWindow, len(packed) - 30} {
			for n := near; n < min(near+30, len(packed)); n++ {
				if _, err := unpack(t, c, bytes.NewReader(packed[:n])); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("cut to %d of %d: error %v", n, len(packed), err)
				}
			}
		}
	})
}

func TestTrailingBytes(t *testing.T) {
	each(t, func(t *testing.T, c Codec) {
		if c.Info().Ext == "" {
			t.Skip("the bytes as they are")
		}
		data := firewall(5000)
		packed := pack(t, c, 0, data, 0)
		for _, tail := range []string{"\x00", "ab", "abc", "garbage behind the end", strings.Repeat("\x00", 600)} {
			if _, err := unpack(t, c, strings.NewReader(string(packed)+tail)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q behind the end: error %v", tail, err)
			}
		}
		// Readers that stop at the end of the first stream would not see the second one, and report no error.
		twice := append(bytes.Clone(packed), packed...)
		if got, err := unpack(t, c, bytes.NewReader(twice)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("two streams: %d bytes, %v", len(got), err)
		}
	})
}

// TestS2ChunksBehind: an appended chunk is refused even if readers of the framing skip it.
func TestS2ChunksBehind(t *testing.T) {
	for _, data := range [][]byte{nil, firewall(5000)} {
		packed := pack(t, s2Codec, 0, data, 0)
		for what, tail := range map[string]string{
			"padding": "\xfe\x01\x00\x00\x00", "skippable": "\x80\x03\x00\x00abc", "identifier": "\xff\x06\x00\x00S2sTwO",
		} {
			if _, err := unpack(t, s2Codec, strings.NewReader(string(packed)+tail)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s behind the stream of %d bytes: error %v", what, len(data), err)
			}
		}
	}
}

// TestFlippedBits: every codec carries a checksum of its content.
func TestFlippedBits(t *testing.T) {
	each(t, func(t *testing.T, c Codec) {
		if c.Info().Ext == "" {
			t.Skip("the bytes as they are")
		}
		data := firewall(90)
		packed := pack(t, c, 0, data, 0)
		for bit := 0; bit < len(packed)*8; bit += 3 {
			packed[bit/8] ^= 1 << (bit % 8)
			got, err := unpack(t, c, bytes.NewReader(packed))
			if err == nil && !bytes.Equal(got, data) {
				t.Fatalf("bit %d flipped: %d other bytes and no error", bit, len(got))
			}
			packed[bit/8] ^= 1 << (bit % 8)
		}
	})
}

var errDisk = errors.New("disk on fire")

// TestSourceError: an error of the source must not be mistaken for damage.
func TestSourceError(t *testing.T) {
	each(t, func(t *testing.T, c Codec) {
		packed := pack(t, c, 0, firewall(3000), 0)
		for _, n := range []int{0, 1, 3, 10, len(packed) / 2, len(packed) - 1, len(packed)} {
			r := io.MultiReader(bytes.NewReader(packed[:n]), iotest.ErrReader(errDisk))
			if _, err := unpack(t, c, r); !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
				t.Errorf("source fails after %d of %d bytes: %v", n, len(packed), err)
			}
		}
		got, err := unpack(t, c, iotest.OneByteReader(iotest.DataErrReader(bytes.NewReader(packed))))
		if err != nil || !bytes.Equal(got, firewall(3000)) {
			t.Errorf("byte by byte: %d bytes, %v", len(got), err)
		}
	})
}

// shortWriter fails once n bytes were written.
type shortWriter struct{ n int }

func (s *shortWriter) Write(p []byte) (int, error) {
	if len(p) > s.n {
		return s.n, errDisk
	}
	s.n -= len(p)
	return len(p), nil
}

func TestWriteError(t *testing.T) {
	data := noise(zstdWindow + 100)
	each(t, func(t *testing.T, c Codec) {
		size := len(pack(t, c, 0, data, 0))
		for _, n := range []int{0, 5, zstdWindow + 5, size - 1} {
			w, err := c.NewWriter(&shortWriter{n}, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write(data)
			if err == nil {
				err = w.Close()
			}
			if !errors.Is(err, errDisk) {
				t.Errorf("room for %d of %d bytes: %v", n, size, err)
			}
			if err := w.Close(); !errors.Is(err, errDisk) {
				t.Errorf("Close after an error: %v", err)
			}
			if _, err := w.Write(data); !errors.Is(err, errDisk) {
				t.Errorf("Write after an error: %v", err)
			}
		}
		if got, err := unpack(t, c, bytes.NewReader(pack(t, c, 0, data, 0))); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after other writers failed: %d bytes, %v", len(got), err)
		}
	})
}

// TestClosed: a closed handle must not reach the encoder or decoder that another stream uses by now.
func TestClosed(t *testing.T) {
	data := firewall(10_000)
	each(t, func(t *testing.T, c Codec) {
		old, err := c.NewWriter(io.Discard, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		w, err := c.NewWriter(&out, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if _, err := old.Write([]byte("stray")); err == nil {
			t.Error("Write after Close succeeded")
		}
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := unpack(t, c, &out); err != nil || !bytes.Equal(got, data) {
			t.Errorf("disturbed by a closed writer: %d bytes, %v", len(got), err)
		}
		r, err := c.NewReader(bytes.NewReader(pack(t, c, 0, data, 0)))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("Read after Close succeeded")
		}
	})
}

// TestBubbles: what was pooled within one synctest bubble must work in the next one and outside.
func TestBubbles(t *testing.T) {
	data := firewall(5000)
	each(t, func(t *testing.T, c Codec) {
		round := func(t *testing.T) {
			if got, err := unpack(t, c, bytes.NewReader(pack(t, c, 0, data, 0))); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		for range 3 {
			synctest.Test(t, round)
			round(t)
		}
	})
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"zstd": "zstd 1", "zstd:0": "zstd 1", "zstd:19": "zstd 19", "gzip:1": "gzip 1", "gzip": "gzip 6", "lz4": "lz4 1",
		"s2:3": "s2 3", "none": "none 0", "none:0": "none 0",
	} {
		c, level, err := Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := fmt.Sprint(c.Info().Name, " ", level); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
	for in, hint := range map[string]string{
		"": "zstd, gzip, lz4, s2, none", "brotli": "zstd, gzip, lz4, s2, none", "ZSTD": "zstd, gzip", "zstd:23": "use 1 to 22",
		"zstd:-1": "use 1 to 22", "zstd:": "NAME:LEVEL", "zstd:fast": "NAME:LEVEL", "zstd:00": "NAME:LEVEL", "none:1": "no levels", "s2:4": "1 to 3",
	} {
		if _, _, err := Parse(in); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: error %v does not say %q", in, err, hint)
		}
	}
}
