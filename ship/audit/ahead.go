package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// unvouched is an object that no chain of its place names, and the finding that its name alone gives.
type unvouched struct {
	key  object.Key
	size int64 // as listed
	Finding
	group   *group // whose lines may explain it, or nil
	notOwed bool   // another place's line may explain it
}

// voucher is the line about an object in another place's chain.
type voucher struct {
	line  ship.SegmentLine
	place string
	key   string // of the manifest
}

// readUnnamed reads the objects that no chain of their place names: a deep audit examines every object, any other those that are not
// owed. If another place's chain names one, it is compared with that line; otherwise it can only be decoded.
func (a *auditor) readUnnamed(ctx context.Context) {
	for _, p := range a.places {
		later, err := a.explainSuperseded(ctx, p)
		if a.check(err); err != nil {
			return
		}
		p.later = nil
		for _, u := range later {
			if a.o.Deep || u.notOwed {
				p.later = append(p.later, u)
			} else {
				a.rec.add(u.Finding)
			}
		}
	}
	wanted := map[object.Origin]map[string]*voucher{}
	for _, p := range a.places {
		for _, u := range p.later {
			if wanted[u.key.Origin] == nil {
				wanted[u.key.Origin] = map[string]*voucher{}
			}
			wanted[u.key.Origin][u.Key] = nil
		}
	}
	for id, keys := range wanted {
		a.check(a.findVouchers(ctx, id, keys))
	}
	var wg sync.WaitGroup
	for _, p := range a.places {
		todo := make(chan unvouched)
		for range min(a.o.Workers, len(p.later)) {
			wg.Go(func() {
				for u := range todo {
					a.check(a.judgeUnvouched(ctx, p, u, wanted[u.key.Origin][u.Key]))
				}
			})
		}
		wg.Go(func() {
			defer close(todo)
			for _, u := range p.later {
				select {
				case todo <- u:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
}

// findVouchers looks for lines about objects in the chains of all places. It reads the chains again: to keep every line of
// every chain for the few that are needed here would take a hundred times the memory.
func (a *auditor) findVouchers(ctx context.Context, id object.Origin, keys map[string]*voucher) error {
	left := len(keys)
	for _, p := range a.places {
		for m, err := range p.readable(ctx, id) {
			if errors.Is(err, errUnread) {
				continue // what it names can only be decoded
			}
			if err != nil {
				return err
			}
			for i := range m.Segments {
				s := &m.Segments[i]
				if v, ok := keys[s.Key]; ok && v == nil && s.Records > 0 {
					keys[s.Key] = &voucher{*s, p.name, object.ManifestKey(id.Class, id.Spool, m.Header.Epoch, m.Header.Number)}
					left--
				}
			}
			if left == 0 {
				return nil
			}
		}
	}
	return nil
}

// readUnvouched reads one object. content is what is wrong with its records, bytes how it differs otherwise from the voucher's line.
func (p *place) readUnvouched(ctx context.Context, u *unvouched, v *voucher) (bytes string, content, err error) {
	err = p.requestOf(ctx, u.Key, func(ctx context.Context) (err error) {
		var there ship.Object
		if v == nil {
			there, content, err = p.examine(ctx, u.Key, u.size, func(r io.Reader) error { return p.survey(ctx, r, &u.key, nil) })
			if there.Size > u.size {
				content = fmt.Errorf("%w: its size is more than the %d bytes that were listed", ship.ErrVerify, u.size)
			}
			return damaged(err, content)
		}
		staged := v.line
		staged.Receipt = &ship.Receipt{Size: staged.Size, Checksum: "sha256:" + staged.SHA256}
		bytes = ""
		there, content, err = p.examine(ctx, u.Key, u.size, func(r io.Reader) error { return p.recount(ctx, r, &staged) })
		if err == nil {
			if wrong := judgeBytes(there, &staged); wrong != nil {
				bytes = strings.TrimPrefix(wrong.Error(), ship.ErrVerify.Error()+": ")
			}
		}
		return damaged(err, content)
	})
	if errors.Is(err, ship.ErrVerify) {
		content, err = err, nil // the content is wrong, or the place itself says that the bytes are not those that were stored
	}
	return bytes, content, err
}

// explainNotOwed reports an object that is not owed here, if it is what another place's chain states.
func (a *auditor) explainNotOwed(ctx context.Context, p *place, u unvouched, v *voucher) (done bool, err error) {
	if v == nil || v.place == p.name {
		return false, nil
	}
	done, err = p.kept.once(u.Key, func() (bool, error) {
		_, content, err := p.readUnvouched(ctx, &u, v)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errUnread) {
			return false, nil
		}
		return content == nil, err
	})
	if done {
		u.Code, u.Other = ObjectNotOwed, v.place+": "+v.key
		u.Detail += "; its records are those that the manifest there states"
		a.rec.add(u.Finding)
	}
	return done, err
}

// judgeUnvouched reports one object, which it reads unless nothing could vouch for it and the audit is not deep.
func (a *auditor) judgeUnvouched(ctx context.Context, p *place, u unvouched, v *voucher) error {
	f := u.Finding
	if u.notOwed {
		if done, err := a.explainNotOwed(ctx, p, u, v); done || err != nil {
			return err
		}
		if v == nil && !a.o.Deep {
			f.Cure = cureOfNotOwed
			a.rec.add(f)
			return nil
		}
	}
	bytes, content, err := p.readUnvouched(ctx, &u, v)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The object was moved away meanwhile. Report what the listing showed.
	case errors.Is(err, errUnread):
		f.Detail += ", and it cannot be read: "
		if f.Code == Uncovered {
			a.reportUnread(f, f.Detail, err)
			return nil
		}
		f.Detail += errText(err) // its name alone is damage, which nobody may hide by making the object unreadable
	case err != nil:
		return err
	case errors.Is(content, errNotUnderstood):
		f.Detail += "; " + content.Error()
	case content != nil && v != nil:
		f.Code, f.Other = ObjectAltered, v.place+": "+v.key
		f.Detail = join(f.Detail+", and it is not what the manifest there says", bytes, content.Error())
	case content != nil:
		f.Code, f.Detail = ObjectAltered, f.Detail+", and it is damaged: "+content.Error()
	case v != nil && bytes != "":
		f.Other = v.place + ": " + v.key
		f.Detail += "; its records are those that the manifest there states, but the stored bytes differ (" + bytes + "): another compression, or bytes were altered that hold no record"
	case v != nil:
		f.Other = v.place + ": " + v.key
		f.Detail += "; it is what the manifest there states, byte for byte"
	default:
		f.Detail += "; it can be read completely, but nothing vouches for its records"
	}
	if u.notOwed && f.Code == Uncovered {
		f.Cure = cureOfNotOwed
	}
	a.rec.add(f)
	return nil
}

// damaged returns err or, if that is nil, the damage in the content, so that request reads the object once more.
func damaged(err, content error) error {
	if err == nil && errors.Is(content, ship.ErrVerify) {
		return content
	}
	return err
}

func join(parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, "; ")
}

// survey decodes an object of which only the name is known. It checks what format and codec can detect, and that the records
// are in order and in the range of the name. How many there should be is unknown. The uncompressed output goes to raw.
func (p *place) survey(ctx context.Context, stored io.Reader, k *object.Key, raw io.Writer) error {
	f, codec, err := encodingByKey(p.o.Extra, k)
	if err != nil {
		return err
	}
	span := k.Last - k.First + 1
	r, err := p.openRecords(ctx, stored, f, codec, f.MaxRaw(span, min(span, segment.MaxSize)*segment.MaxRecord), raw)
	if err != nil {
		return err
	}
	defer r.close()
	last := k.First - 1
	for err == nil {
		var seq uint64
		if seq, _, _, err = next(r); err != nil {
			break
		}
		if f.Plain {
			seq = last + 1 // it has no numbers; the count must not exceed what the name allows
		}
		if seq <= last || seq > k.Last {
			err = fmt.Errorf("%w: record %d after record %d", errRecords, seq, last)
		}
		last = seq
	}
	err = errors.Join(ignoreEOF(err), r.Close())
	if err == nil {
		err = r.rest()
	}
	if err == nil {
		err = sameSpool(r, k.String())
	}
	return blame(err)
}
