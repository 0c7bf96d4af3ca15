package sftpd

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/pkg/sftp"
)

// handlers answer SFTP requests from below a root, out of which neither ".." nor symbolic links lead.
type handlers struct{ root *os.Root }

var (
	_ sftp.FileReader           = handlers{}
	_ sftp.FileWriter           = handlers{}
	_ sftp.LstatFileLister      = handlers{}
	_ sftp.PosixRenameFileCmder = handlers{}
	_ sftp.StatVFSFileCmder     = handlers{}
)

// local is a client's path as one below the root.
func local(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p == "" {
		return "."
	}
	return p
}

// status makes an error one of those that SFTP has a status for.
func status(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile // as OpenSSH answers
	case errors.Is(err, fs.ErrPermission):
		return sftp.ErrSSHFxPermissionDenied
	}
	return err
}

// Fileread opens a file for reading.
func (h handlers) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	f, err := h.root.Open(local(r.Filepath))
	if err != nil {
		return nil, status(err)
	}
	return f, nil
}

// Filewrite opens a file for writing. It is closed with the client's handle.
func (h handlers) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	flags, mode := r.Pflags(), os.O_WRONLY
	for _, f := range []struct {
		set  bool
		flag int
	}{{flags.Creat, os.O_CREATE}, {flags.Trunc, os.O_TRUNC}, {flags.Excl, os.O_EXCL}} {
		if f.set {
			mode |= f.flag
		}
	}
	f, err := h.root.OpenFile(local(r.Filepath), mode, 0o644)
	if err != nil {
		return nil, status(err)
	}
	return f, nil
}

// Filecmd does what has no result.
func (h handlers) Filecmd(r *sftp.Request) error {
	p, target := local(r.Filepath), local(r.Target)
	switch r.Method {
	case "Mkdir":
		return status(h.root.Mkdir(p, 0o755))
	case "Remove":
		if fi, err := h.root.Lstat(p); err != nil || fi.IsDir() {
			return status(errors.Join(err, syscall.EISDIR))
		}
		return status(h.root.Remove(p))
	case "Rmdir":
		if fi, err := h.root.Lstat(p); err != nil || !fi.IsDir() {
			return status(errors.Join(err, syscall.ENOTDIR))
		}
		return status(h.root.Remove(p))
	case "Link":
		return status(h.root.Link(p, target))
	case "Rename":
		// Version 3: an error if the name exists. A link has that from the system; directories are not moved here.
		if err := h.root.Link(p, target); err != nil {
			return status(err)
		}
		return status(h.root.Remove(p))
	case "Setstat":
		return h.setstat(p, r)
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename replaces the target.
func (h handlers) PosixRename(r *sftp.Request) error {
	return status(h.root.Rename(local(r.Filepath), local(r.Target)))
}

func (h handlers) setstat(p string, r *sftp.Request) error {
	flags, attrs := r.AttrFlags(), r.Attributes()
	var err error
	if flags.Size {
		f, ferr := h.root.OpenFile(p, os.O_WRONLY, 0)
		if ferr != nil {
			return status(ferr)
		}
		err = errors.Join(f.Truncate(int64(attrs.Size)), f.Close())
	}
	if flags.Permissions {
		err = errors.Join(err, h.root.Chmod(p, attrs.FileMode().Perm()))
	}
	if flags.Acmodtime {
		err = errors.Join(err, h.root.Chtimes(p, attrs.AccessTime(), attrs.ModTime()))
	}
	return status(err)
}

// Filelist returns the attributes of a path (Stat) or the entries of a directory (List).
func (h handlers) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch p := local(r.Filepath); r.Method {
	case "Stat":
		fi, err := h.root.Stat(p)
		return list{fi}, status(err)
	case "List":
		d, err := h.root.Open(p)
		if err != nil {
			return nil, status(err)
		}
		entries, err := d.Readdir(-1)
		return list(entries), status(errors.Join(err, d.Close()))
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

// Lstat does not follow a symbolic link.
func (h handlers) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	fi, err := h.root.Lstat(local(r.Filepath))
	return list{fi}, status(err)
}

// list hands out file infos.
type list []os.FileInfo

func (l list) ListAt(dst []os.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(dst, l[offset:])
	if n < len(dst) {
		return n, io.EOF
	}
	return n, nil
}
