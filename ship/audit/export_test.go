package audit

import "context"

// Cures are the advices, by code.
func Cures() map[string]string { return cures }

// KeepLess bounds what an audit keeps of a catalogue.
func KeepLess(o *Options) { o.maxKept = 100 }

// Forget has the next Step be a full audit.
func Forget(w *Watcher) { w.kept = nil }

// JumpSooner has a Watcher jump over what it knows of chains.
func JumpSooner(w *Watcher) {
	for _, m := range w.kept {
		m.relisted, m.page = 1, 2
	}
}

// FullAudit makes a full audit beside the increments of a Watcher. adopt has it go on with what that has kept.
func FullAudit(ctx context.Context, w *Watcher) (adopt func()) {
	kept, err := w.full(ctx)
	return func() { w.adopt(fullAudit{kept, err}) }
}

// JumpInTurn has a Watcher jump over what it knows of chains, each of which has its turn.
func JumpInTurn(w *Watcher) {
	for _, m := range w.kept {
		m.relisted, m.page = len(m.chains.entries)-1, 2
	}
}
