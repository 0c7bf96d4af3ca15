package statefile

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/penstock-go/penstock/internal/vfs"
)

// Load reads the file at path, of at most max bytes, into v. It checks the version first, since a newer program may have changed the
// type of any other member. A file without the member "version" has version 0. See Answer for the errors.
func Load(fsys vfs.FS, path string, max int64, version int, v any) error {
	b, err := vfs.ReadFile(fsys, path, max)
	if errors.Is(err, vfs.ErrTooLarge) {
		return &contents{err}
	}
	if err != nil {
		return err
	}
	var head struct{ Version int }
	if err := Open(b, &head); err != nil {
		return &contents{err}
	}
	if head.Version > version {
		return &NewerError{head.Version}
	}
	if err := Open(b, v); err != nil {
		return &contents{err}
	}
	return nil
}

// ErrContents is wrapped by every error of Load whose cause is the contents of the file, and not the reading.
var ErrContents = errors.New("damaged contents")

// contents makes an error an ErrContents.
type contents struct{ error }

func (c *contents) Unwrap() error        { return c.error }
func (c *contents) Is(target error) bool { return target == ErrContents }

// NewerError is an ErrNewer that says which version the file has.
type NewerError struct{ Version int }

// Error is that of ErrNewer.
func (*NewerError) Error() string { return ErrNewer.Error() }

// Is makes every NewerError an ErrNewer.
func (*NewerError) Is(target error) bool { return target == ErrNewer }

// Answer says what a caller of Load does next. It is the same for every state file.
type Answer int

const (
	// Loaded: the file was read.
	Loaded Answer = iota
	// Absent: there is no file, and the spool continues without.
	Absent
	// Damaged: there is a file, but its contents are lost: the checksum is wrong, or the disk cannot read it. The spool
	// logs this, and continues with its other files.
	Damaged
	// Refused: a newer program wrote the file, or this process lacks the permission, the descriptors or the memory to read it. The
	// contents may be intact, so the caller must not act as if they were lost.
	Refused
)

// AnswerTo returns the answer to an error of Load.
func AnswerTo(err error) Answer {
	switch {
	case err == nil:
		return Loaded
	case errors.Is(err, fs.ErrNotExist):
		return Absent
	case errors.Is(err, ErrNewer), Denied(err):
		return Refused
	}
	return Damaged
}

// Denied reports whether the cause of an error is this process: it lacks the permission, the descriptors or the memory to read a
// file. The file on the disk is intact.
func Denied(err error) bool {
	for _, own := range []error{fs.ErrPermission, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
