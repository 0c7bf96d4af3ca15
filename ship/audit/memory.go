package audit

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

const (
	// maxRelisted is up to how many chain keys an increment lists all of them again: 20 requests at S3. If there are more, it skips known
	// keys.
	maxRelisted = 20_000
	// page is how many keys a skip must save to be worth a request.
	page = 1000
	// chainRounds is the number of increments in which each chain is listed once from its beginning.
	chainRounds = 60
	// rotated is how many folders of hours with objects an increment lists in turn, without another reason: those that were listed the
	// longest ago. rotatedIdle is the same for hours without a known object.
	rotated, rotatedIdle = 16, 4
	// recent is the number of past hours whose folders every increment lists.
	recent = 2
	// doubted is the time after which an increment asks again for an object that was not right, if its folder shows no change.
	doubted = 10 * time.Minute
)

// memory is what a Watcher keeps of one place, so that an audit asks only for what may be new. All of it can be rebuilt from the place.
// An audit judges remembered data and new answers alike, so it reaches the verdict of an audit without a memory, unless the place has
// changed where this audit does not look.
//
// Documents (manifests, heads, closings, notes) never change, so one that was read is not read again as long as its key is listed. An
// object that was found right is only listed again. A nil memory remembers nothing.
type memory struct {
	chains, data index // each is used by one goroutine at a time

	began     time.Time
	mu        sync.Mutex
	manifests map[object.ChainKey]*ship.Manifest
	documents map[string]any        // heads, closings and notes, by key; and what once has found true
	signed    map[any]bool          // manifests and heads that a given key vouches for
	objects   map[string]remembered // by key
	folders   map[string]folder     // of hours
	touched   map[string]bool       // folders that are to be listed
	changed   map[string]bool       // folders whose listing has changed since the running full audit began
	round     uint64                // the number of the audit
	sums      int32                 // place.sums
	relisted  int                   // maxRelisted; tests set less
	page      int                   // page; tests set less
	peers     []*memory             // of all places
	shaken    bool                  // a listing contradicts what is remembered of an object: the chain that names it has to be judged again
}

// remembered is what audits have found of an object. Each answer is about the line that the object was compared with, because chains of
// related spools may name the same object in different lines.
type remembered struct {
	answer
	line   uint64            // the hash of the line, 0 for what is not about a line
	others map[uint64]answer // the answers about other lines
}

// answer is the result of an examination.
type answer struct {
	err error         // nil: it is right
	at  time.Duration // when err was found, since memory.began
}

// maxOthers bounds remembered.others.
const maxOthers = 64

// about returns the answer about a line.
func (r *remembered) about(line uint64) (a answer, ok bool) {
	if r.line == line {
		return r.answer, true
	}
	a, ok = r.others[line]
	return a, ok
}

// with adds the answer about a line.
func (r remembered) with(line uint64, a answer) remembered {
	switch {
	case r.line == line:
		r.answer = a
		return r
	case r.others == nil:
		r.others = map[uint64]answer{}
	case len(r.others) >= maxOthers:
		clear(r.others)
	}
	r.others[line] = a
	return r
}

// folder is the folder of an hour.
type folder struct {
	round uint64 // the last round in which it was listed
	idle  bool   // no place had an object in it then
}

// newMemories returns n empty memories, one for each place.
func newMemories(n int) (all []*memory) {
	for range n {
		all = append(all, newMemory())
	}
	for _, m := range all {
		m.peers = all
	}
	return all
}

// compareFolders finds out in which folders no place has an object.
func compareFolders(all []*memory) {
	busy := map[string]bool{}
	for _, m := range all {
		for name := range m.folders {
			if from, to := m.data.below(name); from < to {
				busy[name] = true
			}
		}
	}
	for _, m := range all {
		for name := range busy {
			m.folders[name] = folder{round: m.folders[name].round}
		}
		for name, f := range m.folders {
			f.idle = !busy[name]
			m.folders[name] = f
		}
	}
}

func newMemory() *memory {
	return &memory{
		began: time.Now(), manifests: map[object.ChainKey]*ship.Manifest{}, documents: map[string]any{}, signed: map[any]bool{},
		objects: map[string]remembered{}, folders: map[string]folder{}, touched: map[string]bool{}, changed: map[string]bool{}, relisted: maxRelisted, page: page,
	}
}

// succeed prepares m, the memory of a full audit, to replace old. The next increment lists the folders in which increments have seen
// changes meanwhile, since the full audit may have read them earlier, and all chains, whose changes are not noted.
func (m *memory) succeed(old *memory) {
	maps.Copy(m.touched, old.touched)
	maps.Copy(m.touched, old.changed)
	m.chains.full = false
}

// catalogue yields the keys of a place's chains.
func (p *place) catalogue(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	m := p.kept
	if m == nil {
		return p.list(ctx, prefix)
	}
	return func(yield func(ship.Entry, error) bool) {
		if err := m.listChains(ctx, p, prefix); err != nil {
			yield(ship.Entry{}, err)
			return
		}
		m.chains.yield(yield)
	}
}

// window is a part of a listing: the keys after one, up to another.
type window struct{ after, until string } // "" for no bound

// listChains brings the index of chains up to date.
func (m *memory) listChains(ctx context.Context, p *place, prefix string) error {
	m.round++
	x := &m.chains
	parts := []window{{}}
	if x.full && len(x.entries) > m.relisted && p.lister.after != nil {
		parts = m.unsure()
	}
	answers, err := inParallel(p, len(parts), func(i int) (fresh []ship.Entry, err error) {
		for e, err := range p.listAfter(ctx, prefix, parts[i].after) {
			if err != nil {
				return nil, err
			}
			if parts[i].until != "" && e.Key > parts[i].until {
				break
			}
			if fresh = append(fresh, e); e.Key == parts[i].until {
				break
			}
		}
		return fresh, nil
	})
	if err != nil {
		return err
	}
	for i, w := range parts {
		from, to := 0, len(x.entries)
		if w.after != "" {
			from = x.after(w.after)
		}
		if w.until != "" {
			to = x.after(w.until)
		}
		x.replace(from, to, answers[i], m.forget)
	}
	x.full = true
	return nil
}

// unsure returns the parts of the index of chains that an increment lists again. It leaves out long rows of manifests of one epoch, from
// the second to the last but one: new ones come after them.
func (m *memory) unsure() (parts []window) {
	x, after := &m.chains, ""
	for i := 0; i < len(x.entries); {
		key := x.entries[i].Key
		dir := key[:strings.LastIndexByte(key, '/')+1]
		if k, ok := object.ParseChainKey(key); !ok || k.Head != "" {
			i++ // all of these are listed
			continue
		}
		last := x.after(dir+"heads") - 1
		if last-i >= m.page && !(last-i <= m.relisted && sum(dir)%chainRounds == m.round%chainRounds) {
			parts = append(parts, window{after, key})
			after = x.entries[last-1].Key
		}
		i = last + 1
	}
	return append(parts, window{after, ""})
}

// inParallel makes n listings, some at the same time.
func inParallel(p *place, n int, list func(i int) ([]ship.Entry, error)) ([][]ship.Entry, error) {
	answers, errs := make([][]ship.Entry, n), make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, p.o.Workers)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answers[i], errs[i] = list(i)
		})
	}
	wg.Wait()
	return answers, errors.Join(errs...)
}

// sum maps names evenly to numbers.
func sum(s string) (n uint64) {
	for i := range len(s) {
		n = n*31 + uint64(s[i])
	}
	return n
}

// contents yields the objects of a place.
func (p *place) contents(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	m := p.kept
	if m == nil {
		return p.list(ctx, prefix)
	}
	return func(yield func(ship.Entry, error) bool) {
		if err := m.listData(ctx, p, prefix); err != nil {
			yield(ship.Entry{}, err)
			return
		}
		m.data.yield(yield)
	}
}

// listData brings the index of objects up to date.
func (m *memory) listData(ctx context.Context, p *place, prefix string) error {
	if !m.data.full {
		var all []ship.Entry
		for e, err := range p.list(ctx, prefix) {
			if err != nil {
				return err
			}
			all = append(all, e)
			if f := folderOf(e.Key); f != "" {
				m.folders[f] = folder{round: m.round}
			}
		}
		m.data = index{entries: all, full: true}
		clear(m.touched)
		return nil
	}
	due := m.due(p, time.Now())
	answers, err := inParallel(p, len(due), func(i int) (all []ship.Entry, err error) {
		for e, err := range p.list(ctx, due[i]) {
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
		return all, nil
	})
	if err != nil {
		return err
	}
	for i, f := range due {
		from, to := m.data.below(f)
		if !m.data.replace(from, to, answers[i], m.forget) {
			m.changed[f] = true
		}
		delete(m.touched, f)
		m.folders[f] = folder{round: m.round, idle: len(answers[i]) == 0}
	}
	return nil
}

// due returns the folders of hours to list: those with a reason, and the next ones in turn.
func (m *memory) due(p *place, now time.Time) []string {
	due := maps.Clone(m.touched)
	// Somebody may have made a class for a while.
	maps.DeleteFunc(m.folders, func(name string, f folder) bool {
		class, _, _ := strings.Cut(strings.TrimPrefix(name, object.DataPrefix), "/")
		return f.idle && !p.classes[class]
	})
	for class := range p.classes {
		for h := object.HourOf(now) - calendar; h <= object.HourOf(now); h++ {
			f := object.HourPrefix(class, h)
			if _, ok := m.folders[f]; !ok {
				m.folders[f] = folder{idle: true} // idle hours have their turn too
			}
			if h >= object.HourOf(now)-recent {
				due[f] = true
			}
		}
	}
	turn := slices.Collect(maps.Keys(m.folders))
	slices.SortFunc(turn, func(a, b string) int {
		return cmp.Or(cmp.Compare(m.folders[a].round, m.folders[b].round), strings.Compare(a, b))
	})
	full, idle := rotated, rotatedIdle
	for _, f := range turn {
		left := &full
		if m.folders[f].idle {
			left = &idle
		}
		if *left > 0 {
			*left--
			due[f] = true
		}
	}
	return slices.Sorted(maps.Keys(due))
}

// folderOf returns the folder of an hour that a key is in, "" if it is in none.
func folderOf(key string) string {
	if folderHour(strings.SplitN(key, "/", 5)) == 0 {
		return ""
	}
	return key[:strings.LastIndexByte(key, '/')+1]
}

// forget drops what is known of a key that appeared, disappeared, or has another size.
func (m *memory) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		m.shaken = true
		delete(m.objects, key)
	}
	delete(m.objects, contentOfObject+key)
	delete(m.signed, m.documents[key])
	delete(m.documents, key)
	if k, ok := object.ParseChainKey(key); ok {
		delete(m.signed, m.manifests[k])
		delete(m.manifests, k)
	}
}

// touch has the folder of a key listed in this audit, or in the next one.
func (m *memory) touch(key string) {
	if f := folderOf(key); f != "" {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.touched[f] = true
	}
}

func (p *place) readManifest(ctx context.Context, id object.Origin, epoch uint32, number uint64) (x *ship.Manifest, err error) {
	m, k := p.kept, object.ChainKey{Origin: id, Epoch: epoch, Number: number}
	if m != nil {
		m.mu.Lock()
		x = m.manifests[k]
		m.mu.Unlock()
	}
	if x != nil {
		return x, nil
	}
	err = p.requestOf(ctx, k.String(), func(ctx context.Context) (err error) {
		x, err = ship.ReadManifest(ctx, p.dest, id.Class, id.Spool, epoch, number)
		return err
	})
	// The removal of a manifest that is not listed would go unnoticed.
	if err != nil || m == nil || !m.chains.has(k.String()) {
		return x, err
	}
	for i := range x.Segments { // share the strings that are the same in millions of lines
		s := &x.Segments[i]
		for _, w := range []*string{&s.Type, &s.Format, &s.Codec} {
			*w = unique.Make(*w).Value()
		}
	}
	m.mu.Lock()
	m.manifests[k] = x
	m.mu.Unlock()
	for i := range x.Segments {
		for _, peer := range m.peers {
			peer.touch(x.Segments[i].Key)
		}
	}
	return x, nil
}

// document returns a document of a place, and reads it if it is not remembered.
func document[T any](m *memory, key string, read func() (*T, error)) (*T, error) {
	if m == nil {
		return read()
	}
	m.mu.Lock()
	x, ok := m.documents[key].(*T)
	m.mu.Unlock()
	if ok {
		return x, nil
	}
	x, err := read()
	if err == nil {
		m.mu.Lock()
		m.documents[key] = x
		m.mu.Unlock()
	}
	return x, err
}

// once calls ask until that has returned true, and from then on returns true. If what is the key of an object, forget makes once ask
// again when that object changes. A change of any other object that it is about must be damage by itself.
func (m *memory) once(what string, ask func() (bool, error)) (bool, error) {
	type yes struct{}
	_, err := document(m, what, func() (*yes, error) {
		ok, err := ask()
		if err == nil && !ok {
			err = errNo
		}
		return nil, err
	})
	if errors.Is(err, errNo) {
		return false, nil
	}
	return err == nil, err
}

var errNo = errors.New("no")

// isSigned returns nil if a given key vouches for a document. It calls check unless that is remembered.
func (m *memory) isSigned(doc any, check func() error) error {
	if m == nil {
		return check()
	}
	m.mu.Lock()
	signed := m.signed[doc]
	m.mu.Unlock()
	if signed {
		return nil
	}
	err := check()
	if err == nil {
		m.mu.Lock()
		m.signed[doc] = true
		m.mu.Unlock()
	}
	return err
}

// isRight reports whether an object was found to be what a line says, and its place has listed it without a change since. line is the
// hash of that line.
func (m *memory) isRight(key string, line uint64) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.objects[key]
	a, about := r.about(line)
	return ok && about && a.err == nil
}

// contentOfObject and a key are the name under which memory.objects has what is known of an object's content, if the audit is not deep
// and had to read it.
const contentOfObject = "content of "

// examined returns what is remembered under a name that says everything that the result of look depends on, or that result. Bad results
// are remembered for the time doubted.
func (m *memory) examined(what string, look func() error) error { return m.examinedFor(what, 0, look) }

// examinedFor is examined for the comparison of an object with a line that has the given hash.
func (m *memory) examinedFor(key string, line uint64, look func() error) error {
	if m == nil {
		return look()
	}
	m.mu.Lock()
	r, ok := m.objects[key]
	a, about := r.about(line)
	m.mu.Unlock()
	if ok && about && (a.err == nil || time.Since(m.began)-a.at < doubted) {
		return a.err
	}
	err := look()
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ship.ErrVerify) || errors.Is(err, errNotUnderstood) {
		a = answer{err, time.Since(m.began)}
		m.mu.Lock()
		if r, ok = m.objects[key]; ok {
			r = r.with(line, a)
		} else {
			r = remembered{answer: a, line: line}
		}
		m.objects[key] = r
		m.mu.Unlock()
	}
	return err
}
