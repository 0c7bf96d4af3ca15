//go:build !linux && !darwin

package fileship

// renameNoReplace has nothing exclusive to offer here that os exposes.
func renameNoReplace(from, to string) (exclusive bool, err error) {
	return false, lookThenRename(from, to)
}
