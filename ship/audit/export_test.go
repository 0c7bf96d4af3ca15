package audit

// Cures are the advices, by code.
func Cures() map[string]string { return cures }
