package s3ship

import (
	"bytes"
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-go/penstock/ship"
)

// probe is the content of the object that Check writes.
var probe = []byte("This object shows that Penstock can write here. It is written once and may be deleted.\n")

// Check implements ship.Checker. It tries each permission that an upload needs: it writes `_tmp/check` (once; the object stays, because
// the driver does not need permission to delete), verifies it, and tests whether the store checks conditions and checksums. It does the
// same with an object in parts, `_tmp/check-parts`, and aborts an upload. To test checksums, it sends `_tmp/check-sum` with a wrong one,
// which a sound store refuses. Then, if permitted, it sweeps uploads that earlier processes have left, and checks the order of listings.
func (b *Destination) Check(ctx context.Context) error {
	if err := b.checkWrite(ctx); err != nil {
		return b.fail("check", checkKey, err)
	}
	o := ship.BytesObject(checkKey, "", probe)
	h, err := b.head(ctx, checkKey)
	switch {
	case err == nil:
		if _, err = b.compareHeld(ctx, o, h, ship.ErrVerify); err == nil && h.checksum != "" {
			err = b.checkSums(ctx)
		}
	case mute(err):
		err = b.explain(ctx, checkKey, err)
	}
	if err != nil {
		return b.fail("check", checkKey, err)
	}
	if err := b.checkParts(ctx); err != nil {
		return b.fail("check", partsKey, err)
	}
	if _, err := b.Sweep(ctx); err != nil && ctx.Err() == nil {
		b.o.Logger.Info("s3ship: unfinished multipart uploads cannot be swept; leave them to a lifecycle rule of the bucket", "location", b.Location(), "err", err)
	}
	b.checkOrder(ctx)
	return ctx.Err()
}

// checkWrite writes the probe. A store that lets it be written twice does not know If-None-Match, and would let one
// owner of a chain overwrite another's manifest.
func (b *Destination) checkWrite(ctx context.Context) error {
	created, err := b.writeProbe(ctx)
	if err != nil || !created || b.o.Compat {
		return err
	}
	if created, err = b.writeProbe(ctx); err == nil && created {
		err = ship.Permanent(errors.New("the store ignores If-None-Match and would overwrite objects: if it is an older one, add compat=true, and read what is lost by it"))
	}
	return err
}

// checkSums sends a wrong checksum. A store that accepts it does not compute checksums, but repeats those that it was sent: they verify
// nothing.
func (b *Destination) checkSums(ctx context.Context) error {
	if b.o.Compat {
		return nil
	}
	o := ship.BytesObject(wrongKey, "", probe)
	o.CRC64NVME++
	in := b.input(o)
	in.Body = bytes.NewReader(probe)
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = "", nil
	_, err := b.client.PutObject(ctx, in, b.exactly(o))
	switch s := status(err); {
	case err == nil, s == 412: // 412: the store accepted that of an earlier check
	case s >= 400 && s < 500:
		return nil
	default:
		return err
	}
	switch _, err = b.head(ctx, wrongKey); {
	case err == nil:
		return ship.Permanent(errors.New("the store accepts a wrong checksum, so that the checksums that it states verify nothing: add compat=true, and objects are read back; " +
			"if the store has been corrected since, remove " + b.full(wrongKey)))
	case isAbsent(err):
		return nil
	}
	return err
}

// writeProbe writes the probe, and reports whether it has created the object or found it there.
func (b *Destination) writeProbe(ctx context.Context) (created bool, err error) {
	o := ship.BytesObject(checkKey, "", probe)
	o.ContentType = "text/plain"
	in := b.input(o)
	in.Body = bytes.NewReader(probe)
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = "", nil // it may be deleted
	out, err := b.client.PutObject(ctx, in, b.exactly(o))
	if status(err) == 412 {
		b.conditions.Store(true)
		return false, nil
	}
	if err == nil && aws.ToString(out.ETag) == "" {
		err = errNoStore // and no reason to advise compat=true
	}
	return err == nil, err
}
