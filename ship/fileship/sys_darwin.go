package fileship

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNoReplace renames without overwriting (renamex_np(2), RENAME_EXCL). exclusive is false if the file system
// could not guarantee that.
func renameNoReplace(from, to string) (exclusive bool, err error) {
	err = unix.RenamexNp(from, to, unix.RENAME_EXCL)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return false, lookThenRename(from, to)
	}
	if err != nil {
		return false, &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return true, nil
}
