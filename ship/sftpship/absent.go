package sftpship

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/penstock-go/penstock/internal/sftpc"
)

// unclear reports whether a status may mean a file that is not there as well as anything else. For a missing file, some
// servers answer "failure" (4), others a code that version 3 does not define.
func unclear(err error) bool {
	var status *sftpc.StatusError
	return errors.As(err, &status) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) &&
		!errors.Is(err, fs.ErrExist) && !errors.Is(err, sftpc.ErrUnsupported) && !errors.Is(err, io.EOF)
}

// missing reports whether file is proven not to be there although the status does not say so: its directory's list does not
// contain it, or the directory itself is missing. A directory that cannot be listed proves nothing.
func (t *turn) missing(ctx context.Context, file string, err error) bool {
	for depth := 0; unclear(err) && depth < maxDepth; depth++ {
		parent, name := path.Dir(file), path.Base(file)
		if parent == file || name == ".." {
			return false
		}
		found, isFile := false, false
		err = t.readDir(ctx, parent, func(n sftpc.Name) {
			if n.Name == name {
				found, isFile = true, n.Kind() == sftpc.Regular
			}
		})
		switch {
		case err == nil:
			return !found || isFile && depth > 0 // a file has no entries
		case errors.Is(err, fs.ErrNotExist):
			return true
		}
		file = parent
	}
	return false
}

// clear makes err an fs.ErrNotExist if the file is proven not to be there.
func (t *turn) clear(ctx context.Context, file string, err error) error {
	if unclear(err) && t.missing(ctx, file, err) {
		return &absentError{err}
	}
	return err
}

// absentError is a status with another meaning that a server has sent for a file that is not there.
type absentError struct{ status error }

func (e *absentError) Error() string {
	return "file does not exist (the server says: " + e.status.Error() + ")"
}
func (e *absentError) Unwrap() []error { return []error{fs.ErrNotExist, e.status} }
