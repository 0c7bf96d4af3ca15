package audit

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
