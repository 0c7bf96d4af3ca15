//go:build !linux && !darwin

package fileship

// renameNoReplace is not exclusive here, because package os has no exclusive rename.
func renameNoReplace(from, to string) (exclusive bool, err error) {
	return false, lookThenRename(from, to)
}
