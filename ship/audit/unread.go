package audit

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// errUnread is what the error about one key that cannot be read is, if its place answers otherwise. What is under the key is proven
// neither right nor wrong.
var errUnread = errors.New("it cannot be read")

// unreadError is an error of a place that is about one key.
type unreadError struct {
	p   *place
	key string
	err error
}

func (e *unreadError) Error() string        { return e.err.Error() }
func (e *unreadError) Unwrap() error        { return e.err }
func (e *unreadError) Is(target error) bool { return target == errUnread }

const (
	// maxUnread is how many keys of a place may be unreadable for a reason that may pass, or so that not even a Stat is answered. An outage
	// must end the audit, and not become a finding about each key.
	maxUnread = 100
	// maxProbed is how many other keys are tried before a place counts as one that lets nothing be read. Of those that fail for a reason
	// that may pass, which takes time, only maxDoubtful are.
	maxProbed, maxDoubtful = 1000, 16
)

// legibility is what an audit knows of the keys that a place lets be read.
type legibility struct {
	passing atomic.Int32              // unreadable after several attempts, as on a disk that fails
	lasting atomic.Int32              // that the place refuses to give: in an archive, or with the mode of a file
	hidden  atomic.Int32              // whose Stat it refuses too
	probing sync.Mutex                // one request at a time looks for a key that can be read
	keys    [2]atomic.Pointer[string] // the last key that was read: of an object, and of any other document
	told    sync.Map                  // keys that were reported
}

func isObject(key string) bool { return strings.HasPrefix(key, object.DataPrefix) }

// lastRead is where the last key of the same kind as this one is kept.
func (l *legibility) lastRead(key string) *atomic.Pointer[string] {
	if isObject(key) {
		return &l.keys[0]
	}
	return &l.keys[1]
}

// requestOf is request for the content of one key. If only that key cannot be read, the error is errUnread.
func (p *place) requestOf(ctx context.Context, key string, f func(context.Context) error) error {
	return p.inSlot(ctx, func() error { return p.againOf(ctx, key, f) })
}

// againOf is again for the content of one key. If only that key cannot be read, the error is errUnread.
func (p *place) againOf(ctx context.Context, key string, f func(context.Context) error) error {
	err := p.again(ctx, f)
	switch {
	case err == nil:
		p.lastRead(key).Store(&key)
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ship.ErrVerify), errors.Is(err, errNotUnderstood), !p.isUnread(ctx, key, err):
		return err
	}
	return &unreadError{p, key, err}
}

// isUnread reports whether an error is about one key, and not about the place: the place still answers a Stat of the key, and lets others
// be read. S3 answers no Stat of an object whose encryption key only its writer has, so for a few keys it is enough that the place lets
// others be read. For an object, it must answer a Stat of another object: a policy may refuse all objects and no document.
func (p *place) isUnread(ctx context.Context, key string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	lasting, alike, hidden := ship.IsPermanent(err), false, false
	switch _, refused := p.dest.Stat(ctx, key); {
	case refused == nil && lasting:
		// Anyone who may write can make many of these, and each costs only one attempt.
		alike = p.lasting.Add(1)%maxUnread == 0
	case refused == nil:
		if p.passing.Add(1) > maxUnread {
			return false
		}
	case lasting && ship.IsPermanent(refused):
		if p.hidden.Add(1) > maxUnread {
			return false
		}
		alike, hidden = isObject(key), true
	default:
		return false
	}
	return p.letsRead(ctx, key, alike, hidden)
}

// letsRead reports whether a place lets another key be read; alike: one of the same kind. If the place hides an object, so that even a Stat
// is refused, it must answer a Stat of another one. The other one need not be readable: all may be in an archive, which an audit of
// checksums never notices.
func (p *place) letsRead(ctx context.Context, key string, alike, hidden bool) bool {
	p.probing.Lock()
	defer p.probing.Unlock()
	doubtful := 0
	for k := range p.candidates(ctx, key, alike) {
		err := p.probe(ctx, k, hidden && alike)
		if err == nil {
			p.lastRead(k).Store(&k)
			return true
		}
		if !ship.IsPermanent(err) {
			doubtful++
		}
		if doubtful == maxDoubtful || ctx.Err() != nil {
			break
		}
	}
	return false
}

// probe reads the beginning of what is under a key, or only asks for it.
func (p *place) probe(ctx context.Context, key string, stat bool) error {
	if stat {
		_, err := p.dest.Stat(ctx, key)
		return err
	}
	body, err := p.dest.Open(ctx, key)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(body, make([]byte, 1))
	return errors.Join(err, body.Close())
}

// candidates yields up to maxProbed keys that can probably be read. First come those that were read before, then manifests of chains that
// other places have too: somebody who can write here alone cannot add any. The order of maps makes the choice among them random. No
// object may have been read yet, so others are listed: first those of the same hour, which have probably been treated alike.
func (p *place) candidates(ctx context.Context, key string, alike bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		n := 0
		more := func(k string) bool {
			n++
			return k == key || yield(k) && n < maxProbed
		}
		for i := range p.keys {
			if k := p.keys[i].Load(); k != nil && (!alike || isObject(*k) == isObject(key)) && !more(*k) {
				return
			}
		}
		for _, k := range p.kept.known(isObject(key)) {
			if !more(k) {
				return
			}
		}
		if alike && isObject(key) {
			for _, prefix := range []string{cmp.Or(folderOf(key), object.DataPrefix), object.DataPrefix} {
				for e, err := range p.list(ctx, prefix) {
					if err != nil || !more(e.Key) {
						return
					}
				}
			}
			return
		}
		for _, shared := range []bool{true, false} {
			for id, l := range p.chains {
				first := l.begins()
				if first == nil || shared != p.shares(id) {
					continue
				}
				last := l.ends()
				if !more(object.ManifestKey(id.Class, id.Spool, last.epoch, last.runs[len(last.runs)-1].to)) ||
					!more(object.ManifestKey(id.Class, id.Spool, first.epoch, first.runs[0].from)) {
					return
				}
			}
		}
	}
}

// shares reports whether another place has a chain of a spool.
func (p *place) shares(id object.Origin) bool {
	return slices.ContainsFunc(p.peers, func(q *place) bool { return q != p && q.chains[id] != nil && q.chains[id].begun() })
}

// known returns some keys that could be read: of objects, or of manifests.
func (m *memory) known(objects bool) (keys []string) {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if objects {
		for k, r := range m.objects {
			if r.err == nil && isObject(k) { // not what is known of its content, or of two objects
				keys = append(keys, k)
			}
			if len(keys) == maxDoubtful {
				break
			}
		}
		return keys
	}
	for k := range m.manifests {
		if keys = append(keys, k.String()); len(keys) == maxDoubtful {
			break
		}
	}
	return keys
}

// reportUnread reports an object or document that cannot be read, once. before is what is known of it otherwise.
func (a *auditor) reportUnread(f Finding, before string, err error) {
	u, ok := errors.AsType[*unreadError](err)
	if !ok {
		return
	}
	if _, told := u.p.told.LoadOrStore(u.key, true); told {
		return
	}
	f.Code, f.Place, f.Key, f.Other, f.Detail = Unread, u.p.name, u.key, "", before+errText(err)
	a.rec.add(f)
}

// reportUnreadObject is reportUnread for an object that was compared with another one.
func (a *auditor) reportUnreadObject(err error) {
	if u, ok := errors.AsType[*unreadError](err); ok {
		k, _ := object.ParseKey(u.key)
		a.reportUnread(Finding{Class: k.Class, Spool: k.Spool, Epoch: k.Epoch, First: k.First, Last: k.Last}, "", err)
	}
}
