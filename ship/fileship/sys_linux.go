package fileship

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNoReplace renames without overwriting (renameat2(2), RENAME_NOREPLACE; not on NFS). exclusive is false where the
// file system could not promise that.
func renameNoReplace(from, to string) (exclusive bool, err error) {
	err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return false, lookThenRename(from, to)
	}
	if err != nil {
		return false, &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return true, nil
}
