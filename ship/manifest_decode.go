package ship

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// maxManifestLine bounds a line in bytes. A segment of 1 GiB in which every other block is damaged has a line of a
// third of that.
const maxManifestLine = 1 << 20

// errNewerManifest: a newer program wrote it, which is no damage.
var errNewerManifest = fmt.Errorf("%w: of a newer version: use a newer program", ErrVerify)

// DecodeManifest reads one manifest and checks everything that it says of itself. It is strict: any byte that Encode
// would have written differently is an error, so that two readers can never understand one manifest differently. It
// reads line by line, each at most 1 MiB, and stops reading at the first error; errors wrap ErrVerify, unless they are
// r's own.
func DecodeManifest(r io.Reader) (*Manifest, error) {
	d := manifestDecoder{r: bufio.NewReader(r), h: sha256.New()}
	if err := d.decode(); err != nil {
		return nil, fmt.Errorf("ship: manifest, line %d: %w", d.lines, err)
	}
	d.h.Sum(d.m.Hash[:0])
	if err := d.m.validate(); err != nil {
		return nil, fmt.Errorf("ship: manifest: %w: %w", ErrVerify, err)
	}
	return &d.m, nil
}

type manifestDecoder struct {
	r     *bufio.Reader
	h     hash.Hash
	lines int
	buf   []byte
	m     Manifest
}

func (d *manifestDecoder) decode() error {
	line, err := d.next()
	if err != nil {
		return cutOff(err)
	}
	// The version is looked at before all else: a newer one may have fields that this reader would call damage.
	var v struct{ Version int }
	if json.Unmarshal(line, &v) == nil && v.Version > ManifestVersion {
		return fmt.Errorf("%w: version %d, this program knows %d", errNewerManifest, v.Version, ManifestVersion)
	}
	if err := strict(line, &d.m.Header); err != nil {
		return err
	}
	for {
		sum := d.h.Sum(nil) // of the lines so far
		if line, err = d.next(); err != nil {
			return cutOff(err)
		}
		switch {
		case hasType(line, "segment") && len(d.m.Segments) < MaxManifestSegments:
			var s SegmentLine
			err = strict(line, &s)
			d.m.Segments = append(d.m.Segments, s)
		case hasType(line, "loss") && len(d.m.Losses) < MaxManifestSegments:
			var l LossLine
			err = strict(line, &l)
			d.m.Losses = append(d.m.Losses, l)
		default:
			if err = strict(line, &d.m.Footer); err != nil {
				return err
			}
			if d.m.Footer.SHA256 != hex.EncodeToString(sum) {
				return fmt.Errorf("%w: the lines before the footer are not those it was written for", ErrVerify)
			}
			return d.end()
		}
		if err == nil {
			err = d.order()
		}
		if err != nil {
			return err
		}
	}
}

// order refuses a loss line before the segment line of its segment or of an earlier one.
func (d *manifestDecoder) order() error {
	s, l := d.m.Segments, d.m.Losses
	if len(s) == 0 || len(l) == 0 {
		return nil
	}
	segment, loss := s[len(s)-1].Segment, l[len(l)-1].Segment
	if lossIsNewest := hasType(d.buf, "loss"); lossIsNewest == (loss < segment) {
		return fmt.Errorf("%w: lines out of order", ErrVerify)
	}
	return nil
}

// end accepts a signature and then nothing.
func (d *manifestDecoder) end() error {
	line, err := d.next()
	if err == nil && hasType(line, "signature") {
		d.m.Signature = new(SignatureLine)
		if err := strict(line, d.m.Signature); err != nil {
			return err
		}
		_, err = d.next()
	}
	if err == nil {
		return fmt.Errorf("%w: something follows the footer", ErrVerify)
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// next returns a line with its newline, valid until the next call; io.EOF at the end.
func (d *manifestDecoder) next() ([]byte, error) {
	d.lines++
	d.buf = d.buf[:0]
	for {
		part, err := d.r.ReadSlice('\n')
		d.buf = append(d.buf, part...)
		switch {
		case len(d.buf) > maxManifestLine:
			return nil, fmt.Errorf("%w: longer than %d bytes", ErrVerify, maxManifestLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && len(d.buf) > 0:
			return nil, fmt.Errorf("%w: cut off in the middle of a line", ErrVerify)
		case err != nil:
			return nil, err
		}
		d.h.Write(d.buf)
		return d.buf, nil
	}
}

// cutOff makes damage of the end of the file before the footer. Of the end alone: a connection that breaks fails with
// io.ErrUnexpectedEOF, and says nothing of what is there.
func cutOff(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: cut off", ErrVerify)
	}
	return err
}

func hasType(line []byte, name string) bool {
	return bytes.HasPrefix(line, []byte(`{"type":"`+name+`",`))
}

// strict decodes a line and accepts it only if encoding gives the same bytes again: no unknown or doubled field, no
// other order, no other spelling.
func strict(line []byte, v any) error {
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w", ErrVerify, err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVerify, err)
	}
	if !bytes.Equal(append(again, '\n'), line) {
		return fmt.Errorf("%w: not in the form that Penstock writes", ErrVerify)
	}
	return nil
}
