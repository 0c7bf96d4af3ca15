package audit

// Cures are the advices, by code.
func Cures() map[string]string { return cures }

// KeepLess bounds what an audit keeps of a catalogue.
func KeepLess(o *Options) { o.maxKept = 100 }
