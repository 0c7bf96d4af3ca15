package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/penstock-go/penstock/spool/object"
)

// An answer is not a proof. A proxy, an appliance or a maintenance page may answer instead of a destination for a while, with
// success and with bytes of its own. Two conclusions cannot be undone: that another owner continues a chain, and that a key
// is taken by other bytes. Before a lane draws either, proveGenuine must show that the destination itself answers.

// errImpostor: something other than the store answers. It is retried like any outage.
var errImpostor = errors.New("the destination claims to hold an object that nobody wrote: something other than the store answers")

// proveGenuine asks the destination for an object whose name nobody can have used. A store answers that the object does not
// exist or that access is denied; something that answers every request with success claims that it exists.
func (l *lane) proveGenuine(ctx context.Context) error {
	key := object.ControlKey(l.s.class, l.s.spool, newClaim())
	_, err := l.dest.Stat(ctx, key)
	switch {
	case err == nil:
		return errImpostor
	case errors.Is(err, fs.ErrNotExist), IsPermanent(err):
		return nil
	}
	return err
}

// takenError proves that another owner continues a chain: it holds that owner's manifest.
type takenError struct{ m *Manifest }

func (e *takenError) Error() string {
	h := &e.m.Header
	return fmt.Sprintf("%v: instance %s has written manifest %d of epoch %d at %s", ErrFenced, h.Instance, h.Number, h.Epoch, h.Destination)
}

func (e *takenError) Unwrap() error { return ErrFenced }

// resolveContest finds out what is stored under a manifest's key after the destination has reported that other bytes have
// taken it. It returns a takenError only for a manifest of this chain with this number, ErrConflict for other bytes that the
// destination returned twice, and any other error, which is retried, for an answer that proves nothing.
func (l *lane) resolveContest(ctx context.Context, m *Manifest, conflict error) error {
	h := &m.Header
	key := object.ManifestKey(h.Class, h.Spool, h.Epoch, h.Number)
	first, err := l.read(ctx, key)
	if err == nil {
		err = l.proveGenuine(ctx)
	}
	var second []byte
	if err == nil {
		second, err = l.read(ctx, key)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: the key seems to be taken, but that cannot be confirmed: %w (%v)", key, err, conflict)
	case !bytes.Equal(first, second):
		return fmt.Errorf("%s: two readings differ (%v)", key, conflict)
	}
	there, err := DecodeManifest(bytes.NewReader(first))
	switch {
	case err != nil:
		return fmt.Errorf("%w: no manifest of any version that this program reads: %w", conflict, err)
	case there.Hash == m.Hash:
		return fmt.Errorf("%s: this manifest is stored, although the destination reported a conflict (%v)", key, conflict)
	case there.Header.Class != h.Class || there.Header.Spool != h.Spool || there.Header.Epoch != h.Epoch || there.Header.Number != h.Number:
		return fmt.Errorf("%w: a manifest of another chain", conflict)
	}
	return &takenError{there}
}

// read returns what the destination has under the key of a manifest.
func (l *lane) read(ctx context.Context, key string) ([]byte, error) {
	body, err := l.dest.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, maxManifest+1))
}
