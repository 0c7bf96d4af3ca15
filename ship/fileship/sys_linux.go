package fileship

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameat2 is replaced in tests.
var renameat2 = unix.Renameat2

// renameNoReplace renames without overwriting (renameat2(2), RENAME_NOREPLACE; not on NFS). exclusive is false if the file
// system could not guarantee that, or if the call is refused: a seccomp profile that does not know it answers EPERM. EPERM
// can also mean that the rename itself is forbidden. lookThenRename then fails with the same error.
func renameNoReplace(from, to string) (exclusive bool, err error) {
	err = renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return false, lookThenRename(from, to)
		}
	}
	if err != nil {
		return false, &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return true, nil
}
