package s3ship

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// Put implements ship.Destination: look, upload if absent, look again. HeadObject decides, not the response to the upload:
// that response can be lost, and CompleteMultipartUpload can fail with status 200.
func (b *Destination) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	r, err := b.put(ctx, o, body)
	if err != nil {
		return ship.Receipt{}, b.fail("put", o.Key, err)
	}
	return r, nil
}

// put does the work of Put; its errors do not name the place yet.
func (b *Destination) put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if err := ship.CheckKey(o.Key); err != nil {
		return ship.Receipt{}, err
	}
	// Checked before anything is sent: a store would have to read the whole body to find that it ends too early.
	if body.Size() != o.Size {
		return ship.Receipt{}, fmt.Errorf("%w: the body has %d bytes, %d were announced", ship.ErrVerify, body.Size(), o.Size)
	}
	if b.o.Compat {
		unlock, err := b.keys.lock(ctx, o.Key)
		if err != nil {
			return ship.Receipt{}, err
		}
		defer unlock()
	}
	// Look before the upload, since a store reports a taken key only after it has received all bytes. Without s3:ListBucket,
	// the store answers 403 for an absent key. Here that means "unknown", and the upload's condition decides; so it does
	// after other refusals, because only the response to the upload has a body that says why.
	if !b.free(o) {
		h, err := b.head(ctx, o.Key)
		switch {
		case err == nil:
			return b.compareHeld(ctx, o, h, ship.ErrConflict)
		case isForeign(err):
			return ship.Receipt{}, b.explain(ctx, o.Key, err)
		case !mute(err):
			return ship.Receipt{}, err
		}
	}
	// From here on the object may exist, whatever upload returns.
	sent := b.upload(ctx, o, body)
	if sent != nil && (ctx.Err() != nil || refused(sent)) {
		return ship.Receipt{}, sent
	}
	h, err := b.head(ctx, o.Key)
	switch {
	case err == nil && sent == nil:
		return b.compareHeld(ctx, o, h, ship.ErrVerify)
	case err == nil: // 412, or a lost response: the object may be ours or somebody else's
		return b.compareHeld(ctx, o, h, ship.ErrConflict)
	case isAbsent(err) && sent == nil:
		return ship.Receipt{}, fmt.Errorf("%w: not found right after a successful upload", ship.ErrVerify)
	case isAbsent(err):
		return ship.Receipt{}, sent
	case mute(err): // nothing can be verified, whatever was sent
		return ship.Receipt{}, b.explain(ctx, o.Key, err)
	case sent != nil:
		return ship.Receipt{}, sent
	}
	return ship.Receipt{}, err
}

// free reports whether Put may assume that the key is free, which saves a round trip for each small object: the caller
// expects it to be free, and the store has shown to this process that it refuses to overwrite. If the key is taken after
// all, the upload was merely in vain.
func (b *Destination) free(o ship.Object) bool {
	return o.New && o.Size <= b.uploader.partSize() && b.conditions.Load()
}

// compareHeld compares what the store says it holds with o. mismatch is the error if they differ. If the store has no full-object
// checksum, the object is read back. So is an object that this Put may not have created (ErrConflict): whoever has stored it may
// have made other bytes with the same CRC.
func (b *Destination) compareHeld(ctx context.Context, o ship.Object, h *held, mismatch error) (ship.Receipt, error) {
	// The cheap check first: if the sizes differ, the object need not be read back.
	if h.size != o.Size {
		return ship.Receipt{}, fmt.Errorf("%w: %d bytes there, %d here", mismatch, h.size, o.Size)
	}
	r := ship.Receipt{Size: h.size, Checksum: h.checksum, Method: "head", Version: h.version, Degraded: b.degraded(h.size)}
	if r.Checksum == "" && !b.o.Compat && b.warned.CompareAndSwap(false, true) {
		b.o.Logger.Warn("s3ship: store keeps no full-object checksum; every upload is read back instead", "location", b.Location(), "key", o.Key)
	}
	there := r
	if r.Checksum == "" || errors.Is(mismatch, ship.ErrConflict) && o.Check(r) == nil {
		sum, n, err := b.readBack(ctx, o.Key, o.Size)
		if errors.Is(err, ship.ErrVerify) {
			return ship.Receipt{}, fmt.Errorf("%w: reading back: %v", mismatch, err)
		}
		if err != nil {
			return ship.Receipt{}, fmt.Errorf("reading back: %w", err)
		}
		there.Size, there.Checksum, there.Method = n, ship.SHA256Checksum(sum), "read-back"
	}
	if err := o.Check(there); err != nil {
		if errors.Is(mismatch, ship.ErrVerify) {
			return ship.Receipt{}, err
		}
		return ship.Receipt{}, fmt.Errorf("%w: %s there", mismatch, there.Checksum)
	}
	if r.Checksum == "" { // otherwise the receipt has what the store says, which an audit must find again
		r = there
	}
	r.Time = time.Now().UTC()
	return r, nil
}

// degraded names the guarantees that this store cannot give for an object of that size.
func (b *Destination) degraded(size int64) []string {
	if b.o.Compat || size > b.uploader.partSize() && b.loose.Load() {
		return []string{"no-condition"}
	}
	return nil
}

// hashSection returns the SHA-256 of a whole section, whatever its current offset.
func hashSection(ctx context.Context, body *io.SectionReader) (sum [32]byte, err error) {
	h := sha256.New()
	if _, err := io.Copy(h, &ctxReader{ctx, io.NewSectionReader(body, 0, body.Size())}); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}

// ctxReader fails once its context has ended.
type ctxReader struct {
	ctx context.Context // of one call
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
