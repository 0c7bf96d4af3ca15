package ship

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// maxManifestLine bounds a line in bytes. A segment of 1 GiB in which every other block is damaged has a line of a third of
// this length.
const maxManifestLine = 1 << 20

// DecodeManifest reads one manifest and checks everything that can be checked without other documents. It is strict: any byte
// that Encode would have written differently is an error, so that two readers can never understand one manifest differently.
// It reads line by line, each at most 1 MiB, and stops reading at the first error; errors wrap ErrVerify, unless they are r's
// own.
func DecodeManifest(r io.Reader) (*Manifest, error) {
	d := manifestDecoder{r: bufio.NewReader(r), h: sha256.New(), before: sha256.New()}
	if err := d.decode(); err != nil {
		return nil, fmt.Errorf("ship: manifest, line %d: %w", d.lines, err)
	}
	m := d.m // a copy, so that a caller which keeps it does not keep the decoder's buffers
	d.h.Sum(m.Hash[:0])
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("ship: manifest: %w: %w", ErrVerify, err)
	}
	return &m, nil
}

type manifestDecoder struct {
	r      *bufio.Reader
	h      hash.Hash // of everything
	before hash.Hash // of the lines before the one in buf
	lines  int
	buf    []byte
	m      Manifest
}

func (d *manifestDecoder) decode() error {
	line, err := d.next()
	if err != nil {
		return cutOff(err)
	}
	// Check the version first: a manifest of another version may have fields that this reader would report as damage.
	var v struct{ Version int }
	if json.Unmarshal(line, &v) == nil && v.Version > 0 && v.Version != ManifestVersion {
		if d.versionDamaged(line, v.Version) {
			return fmt.Errorf("%w: it says version %d, but its footer was written for version %d", ErrVerify, v.Version, ManifestVersion)
		}
		cure := "use a newer program"
		if v.Version < ManifestVersion {
			cure = "use the program that wrote it, to drain what it still owes and to audit it"
		}
		return fmt.Errorf("%w: %w: it has version %d, and this program reads version %d: %s", ErrVerify, ErrVersion, v.Version, ManifestVersion, cure)
	}
	if err := strict(line, &d.m.Header); err != nil {
		return err
	}
	for {
		d.before.Write(d.buf)
		if line, err = d.next(); err != nil {
			return cutOff(err)
		}
		switch {
		case hasType(line, "segment") && len(d.m.Segments) < maxManifestSegments:
			var s SegmentLine
			err = strict(line, &s)
			d.m.Segments = append(d.m.Segments, s)
		case hasType(line, "loss") && len(d.m.Losses) < maxManifestSegments:
			var l LossLine
			err = strict(line, &l)
			d.m.Losses = append(d.m.Losses, l)
		default:
			if err = strict(line, &d.m.Footer); err != nil {
				return err
			}
			if sum, err := d.m.Footer.sum(d.before); err != nil || sum != d.m.Footer.SHA256 {
				return errors.Join(err, fmt.Errorf("%w: it does not match its footer: it has sha256:%s, the footer says sha256:%s", ErrVerify, sum, d.m.Footer.SHA256))
			}
			return d.readEnd()
		}
		if err == nil {
			err = d.checkOrder()
		}
		if err != nil {
			return err
		}
	}
}

// versionDamaged reports whether the manifest is sound apart from its version: then a digit was damaged, and no other program
// wrote it. It reads the remaining lines.
func (d *manifestDecoder) versionDamaged(line []byte, version int) bool {
	first := bytes.Replace(line, fmt.Appendf(nil, `"version":%d`, version), fmt.Appendf(nil, `"version":%d`, ManifestVersion), 1)
	// A forged line may have the member many times. Without this check, it would be decoded again for each.
	var v struct{ Version int }
	if json.Unmarshal(first, &v) != nil || v.Version != ManifestVersion {
		return false
	}
	_, err := DecodeManifest(io.MultiReader(bytes.NewReader(first), io.LimitReader(d.r, maxManifest)))
	return err == nil
}

// checkOrder refuses a loss line before the segment line of its segment or of an earlier one.
func (d *manifestDecoder) checkOrder() error {
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

// readEnd accepts an optional signature, and then only the end of the input.
func (d *manifestDecoder) readEnd() error {
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

// cutOff reports the end of the file before the footer as damage. It does so for io.EOF only: a broken connection fails with
// io.ErrUnexpectedEOF, which says nothing about the stored manifest.
func cutOff(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: cut off", ErrVerify)
	}
	return err
}

func hasType(line []byte, name string) bool {
	return bytes.HasPrefix(line, []byte(`{"type":"`+name+`",`))
}

// strict decodes a line and accepts it only if encoding it again gives the same bytes: no unknown or doubled field, no other
// order, no other spelling.
func strict(line []byte, v any) error {
	// A valid long line consists of ranges of 20 bytes or more. Empty ones would take up to a hundred times the memory of
	// their text.
	if len(line) > maxSealed && bytes.Count(line, []byte("{")) > len(line)/16 {
		return fmt.Errorf("%w: not in the form that Penstock writes", ErrVerify)
	}
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
