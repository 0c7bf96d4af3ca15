package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// maxRepair bounds a note in bytes.
const maxRepair = 64 << 10

// readRepairs reads the notes of Replay at a place, and counts them with the chains. The objects themselves are judged
// by their chains like all others: a note proves nothing about them.
func (a *auditor) readRepairs(ctx context.Context, p *place) error {
	prefix := object.RepairPrefix
	if a.o.Class != "" {
		prefix += a.o.Class + "/"
	}
	for e, err := range p.list(ctx, prefix) {
		if err != nil {
			return err
		}
		note, err := document(p.kept, e.Key, func() (note *Repair, err error) {
			err = p.requestOf(ctx, e.Key, func(ctx context.Context) error {
				r, err := p.readRepair(ctx, e.Key)
				note = &r
				return err
			})
			return note, err
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, ship.ErrVerify):
			code := ObjectUnknown
			if errors.Is(err, ship.ErrVersion) {
				code = NotUnderstood
			}
			a.rec.add(Finding{Code: code, Place: p.name, Key: e.Key, Detail: err.Error()})
			continue
		case errors.Is(err, errUnread):
			a.reportUnread(Finding{}, "", err)
			continue
		case err != nil:
			return err
		}
		if k, ok := object.ParseKey(note.Key); ok && p.walks[k.Origin] != nil {
			p.walks[k.Origin].Restored++
		}
	}
	return nil
}

// readRepair reads one note. Like a manifest it must be what its key says.
func (p *place) readRepair(ctx context.Context, key string) (r Repair, err error) {
	body, err := p.dest.Open(ctx, key)
	if err != nil {
		return r, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxRepair))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%w: not the note of a repair: %w", ship.ErrVerify, err)
	}
	if want, ok := r.noteKey(); !ok || want != key {
		return r, fmt.Errorf("%w: the note of another repair", ship.ErrVerify)
	}
	if r.Version != repairVersion {
		return r, fmt.Errorf("%w: %w: the note of a repair of version %d", ship.ErrVerify, ship.ErrVersion, r.Version)
	}
	return r, nil
}

// noteKey is the key of the note of a repair.
func (r *Repair) noteKey() (key string, ok bool) {
	k, ok := object.ParseKey(r.Key)
	return object.RepairKey(&k, r.Time), ok
}
