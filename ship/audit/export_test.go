package audit

import "context"

// Cures gives tests the cures, by code.
func Cures() map[string]string { return cures }

// KeepLess bounds what an audit keeps of a catalogue.
func KeepLess(o *Options) { o.maxKept = 100 }

// FewClasses bounds the classes of a place that are judged hour by hour.
func FewClasses(o *Options) { o.maxClasses = 3 }

// Folders returns how many folders of hours a Watcher remembers.
func Folders(w *Watcher) (n int) {
	for _, m := range w.kept {
		n += len(m.folders)
	}
	return n
}

// Forget makes the next Step a full audit.
func Forget(w *Watcher) { w.kept = nil }

// JumpSooner makes a Watcher skip the chain keys that it knows.
func JumpSooner(w *Watcher) {
	for _, m := range w.kept {
		m.relisted, m.page = 1, 2
	}
}

// FullAudit makes a full audit beside the increments of a Watcher. adopt makes the Watcher continue with the
// memory of that audit.
func FullAudit(ctx context.Context, w *Watcher) (adopt func()) {
	f := w.full(ctx)
	return func() { w.adopt(f) }
}

// JumpInTurn makes a Watcher skip the chain keys that it knows, and list each chain in turn.
func JumpInTurn(w *Watcher) {
	for _, m := range w.kept {
		m.relisted, m.page = len(m.chains.entries)-1, 2
	}
}
