package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// errNotUnderstood marks what this auditor does not know, and so cannot call right or wrong.
var errNotUnderstood = errors.New("this auditor does not know it")

// read downloads an object and compares bytes and records with its line. The error of a mismatch wraps ship.ErrVerify and says
// which check failed. If the stored bytes are right, but their codec or format is not known here, it wraps errNotUnderstood.
// Other errors are those of the place, and may be temporary.
func (p *place) read(ctx context.Context, s *ship.SegmentLine) error {
	there, content, err := p.examine(ctx, s.Key, s.Receipt.Size, func(stored io.Reader) error { return p.recount(ctx, stored, s) })
	if err != nil {
		return err
	}
	bytes := judgeBytes(there, s)
	switch {
	case bytes == nil:
		return content
	case content == nil:
		return fmt.Errorf("%w; its content is what its line says", bytes)
	}
	return fmt.Errorf("%w; and its content: %w", bytes, content)
}

// examine reads an object to its end, but not beyond one byte more than most. there describes its stored bytes, content is the
// error of decode, and err is why the bytes could not be read.
func (p *place) examine(ctx context.Context, key string, most int64, decode func(io.Reader) error) (there ship.Object, content, err error) {
	body, err := p.dest.Open(ctx, key)
	if err != nil {
		return there, nil, err
	}
	defer body.Close()
	src := &source{r: io.LimitReader(body, most+1), progress: p.o.Progress}
	stored := ship.NewDigest()
	content = decode(io.TeeReader(src, stored))
	// Bytes that the decoder did not read count too.
	if _, err := io.Copy(stored, src); src.err != nil {
		return there, nil, src.err
	} else if err != nil {
		return there, nil, err
	}
	if content != nil && !errors.Is(content, ship.ErrVerify) && !errors.Is(content, errNotUnderstood) {
		return there, nil, content // an error of this host
	}
	stored.Sum(&there)
	there.Key = key
	return there, content, nil
}

// judgeBytes compares stored bytes with all that a line says about them. They need not be the bytes that were staged: another
// compression of the same output is as good, and then only the receipt describes them.
func judgeBytes(there ship.Object, s *ship.SegmentLine) error {
	var wrong []string
	longer := "" // it was not read to its end
	if there.Size > s.Receipt.Size {
		longer = " up to there"
		wrong = append(wrong, fmt.Sprintf("its size is more than the %d bytes that its line says", s.Receipt.Size))
	}
	differs := func(what string, have, want any, whose string) {
		if have != want && (longer == "" || what != "its size") {
			wrong = append(wrong, fmt.Sprintf("%s is %v%s, its %s says %v", what, have, longer, whose, want))
		}
	}
	if staged(s) {
		differs("its size", there.Size, s.Size, "line")
		differs("its SHA-256", hex.EncodeToString(there.SHA256[:]), s.SHA256, "line")
		differs("its CRC-64/NVME", fmt.Sprintf("%016x", there.CRC64NVME), s.CRC64NVME, "line")
	} else {
		differs("its size", there.Size, s.Receipt.Size, "receipt")
		alg, _, _ := strings.Cut(s.Receipt.Checksum, ":")
		switch alg {
		case "sha256":
			differs("its checksum", ship.SHA256Checksum(there.SHA256), s.Receipt.Checksum, "receipt")
		case "crc64nvme":
			differs("its checksum", ship.CRC64Checksum(there.CRC64NVME), s.Receipt.Checksum, "receipt")
		default:
			if len(wrong) == 0 && hex.EncodeToString(there.SHA256[:]) != s.SHA256 {
				return fmt.Errorf("%w: the checksum of its receipt, %q, and its bytes are not those that were staged", errNotUnderstood, s.Receipt.Checksum)
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ship.ErrVerify, strings.Join(wrong, "; "))
	}
	return nil
}

// recount decodes an object and compares it with its line. The hash of the content would be enough if lines were always
// right: counting the records shows a line that was forged together with its hashes, or written by a sender that counts
// wrongly.
func (p *place) recount(ctx context.Context, stored io.Reader, s *ship.SegmentLine) error {
	f, codec, err := encodingOf(p.o.Extra, s)
	if err != nil {
		return fmt.Errorf("%w: its stored bytes are those that were verified, its records are not counted", err)
	}
	if err := checkLength(f, s); err != nil {
		return blame(err)
	}
	h := &hashWriter{h: sha256.New()}
	r, err := p.openRecords(ctx, stored, f, codec, s.RawBytes, h)
	if err != nil {
		return err
	}
	defer r.close()
	c := counter{line: s, plain: f.Plain}
	for err == nil {
		var seq uint64
		var t int64
		var size int
		if seq, t, size, err = next(r); err == nil {
			err = c.add(seq, t, size)
		}
	}
	err = errors.Join(ignoreEOF(err), r.Close())
	if err == nil {
		err = r.rest()
	}
	if err == nil {
		err = errors.Join(c.checkTotals(), sameSpool(r, s.Key))
	}
	if err == nil && (h.n != s.RawBytes || hex.EncodeToString(h.h.Sum(nil)) != s.RawSHA256) {
		err = fmt.Errorf("%w: its content is %d bytes, sha256:%x; its line says %d, sha256:%s", errRecords, h.n, h.h.Sum(nil), s.RawBytes, s.RawSHA256)
	}
	if err != nil {
		return blame(err)
	}
	return nil
}

// sameSpool compares the spool that the records name with the one in their object's key.
func sameSpool(r format.Reader, key string) error {
	k, ok := object.ParseKey(key)
	if id := r.Spool(); ok && id != "" && id != k.Spool {
		return fmt.Errorf("%w: they are of spool %s, the object's key says %s", errRecords, id, k.Spool)
	}
	return nil
}

// errRecords marks what a counter finds wrong.
var errRecords = errors.New("not the records that its line states")

// blame marks an error as damage if the object is to blame, and not this host (a full disk, say).
func blame(err error) error {
	if errors.Is(err, errRecords) || errors.Is(err, format.ErrCorrupt) || errors.Is(err, compress.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ship.ErrVerify, err)
	}
	if errors.Is(err, segment.ErrVersion) { // an object in the native format of another version
		return fmt.Errorf("%w: %w", errNotUnderstood, err)
	}
	return err
}

func next(r format.Reader) (seq uint64, t int64, size int, err error) {
	seq, rec, err := r.Next()
	return seq, rec.Time, len(rec.Data), err
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// counter compares records with their line, one by one.
type counter struct {
	line           *ship.SegmentLine
	plain          bool
	records, bytes uint64
	last           uint64
	gap            int
	min, max       int64
}

func (c *counter) add(seq uint64, t int64, size int) error {
	c.records++
	c.bytes += uint64(size)
	if c.plain {
		return nil // it has only payloads
	}
	for c.gap < len(c.line.Gaps) && c.line.Gaps[c.gap].Last < seq {
		c.gap++
	}
	inGap := c.gap < len(c.line.Gaps) && seq >= c.line.Gaps[c.gap].First
	if seq < c.line.First || seq > c.line.Last || seq <= c.last || inGap {
		return fmt.Errorf("%w: record %d after record %d", errRecords, seq, c.last)
	}
	c.last = seq
	if c.records == 1 {
		c.min, c.max = t, t
	}
	c.min, c.max = min(c.min, t), max(c.max, t)
	return nil
}

// checkTotals compares the totals. If there are as many records as stated, in ascending order and all in the stated range, none
// is missing.
func (c *counter) checkTotals() error {
	s := c.line
	if c.records != s.Records {
		return fmt.Errorf("%w: there are %d, its line says %d", errRecords, c.records, s.Records)
	}
	if c.plain {
		return nil // a newline at the end of a payload cannot be distinguished from the one after it
	}
	if c.bytes != s.Bytes {
		return fmt.Errorf("%w: %d bytes, its line says %d", errRecords, c.bytes, s.Bytes)
	}
	if !time.Unix(0, c.min).Equal(s.MinTime) || !time.Unix(0, c.max).Equal(s.MaxTime) {
		return fmt.Errorf("%w: they have other times", errRecords)
	}
	return nil
}

// source counts the bytes that are read, and remembers a read error, which a decoder may report as damage.
type source struct {
	r        io.Reader
	progress *Progress
	err      error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.progress.Bytes.Add(uint64(n))
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// hashWriter hashes and counts what is written.
type hashWriter struct {
	h hash.Hash
	n int64
}

func (h *hashWriter) Write(p []byte) (int, error) {
	h.n += int64(len(p))
	return h.h.Write(p)
}
