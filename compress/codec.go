package compress

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrCorrupt is wrapped by the error of a reader whose input is damaged, cut off, followed by other bytes, or beyond the
// reader's memory bounds. Errors of the underlying reader never wrap it: reading again may help there.
var ErrCorrupt = errors.New("corrupt or truncated data")

// errClosed is the error of a closed reader or writer.
var errClosed = errors.New("compress: already closed")

// Codec compresses and decompresses streams. Its methods are safe for concurrent use; a stream is for one goroutine.
type Codec interface {
	// Info describes the codec. It never changes.
	Info() Info
	// NewWriter returns a writer that compresses to w at the given level, 0 meaning the default. Close completes the
	// stream and does not close w. After an error every call returns that error. A writer that is not wanted any more
	// may be abandoned without Close: it holds neither a goroutine nor a file.
	NewWriter(w io.Writer, level int) (io.WriteCloser, error)
	// NewReader returns a reader of the whole content of r: io.EOF means that the stream was complete and that nothing
	// follows it. Damage wraps ErrCorrupt. Close does not close r.
	NewReader(r io.Reader) (io.ReadCloser, error)
}

// Info describes a Codec.
type Info struct {
	// Name as in flags and stage records: "zstd".
	Name string
	// Ext is what a file name ends with, including the dot: ".zst". Empty for none.
	Ext string
	// ContentType of the compressed file. Empty for none, whose files have their content's type.
	ContentType string
	// Levels that exist, and the one that 0 means. All three are 0 for none.
	MinLevel, MaxLevel, DefaultLevel int
}

// Level resolves a level: 0 becomes the default. For a level that does not exist, the error lists the valid range.
func (i Info) Level(level int) (int, error) {
	switch {
	case level == 0:
		return i.DefaultLevel, nil
	case level >= i.MinLevel && level <= i.MaxLevel:
		return level, nil
	case i.MaxLevel == 0:
		return 0, fmt.Errorf("compress: codec %s has no levels, not %d", i.Name, level)
	}
	return 0, fmt.Errorf("compress: level %d of codec %s does not exist: use %d to %d", level, i.Name, i.MinLevel, i.MaxLevel)
}

// Names lists the codecs, the default first.
func Names() []string {
	names := make([]string, len(codecs))
	for i, c := range codecs {
		names[i] = c.info.Name
	}
	return names
}

// ByName returns the codec of that name. The error of an unknown one lists those that exist.
func ByName(name string) (Codec, error) {
	for _, c := range codecs {
		if c.info.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("compress: unknown codec %q: use one of %s", name, strings.Join(Names(), ", "))
}

// Parse reads a flag's value, "zstd" or "zstd:3", into a codec and one of its levels (never 0 where levels exist).
func Parse(s string) (Codec, int, error) {
	name, number, found := strings.Cut(s, ":")
	c, err := ByName(name)
	if err != nil {
		return nil, 0, err
	}
	level := 0
	if found {
		level, err = strconv.Atoi(number)
		if err != nil || level == 0 && number != "0" {
			return nil, 0, fmt.Errorf("compress: level %q in %q is not a number: write NAME or NAME:LEVEL", number, s)
		}
	}
	level, err = c.Info().Level(level)
	return c, level, err
}
