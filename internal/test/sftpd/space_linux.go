package sftpd

import (
	"syscall"

	"github.com/pkg/sftp"
)

// StatVFS tells the space of the file system below the root.
func (h handlers) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(h.root.Name(), &st); err != nil {
		return nil, status(err)
	}
	return &sftp.StatVFS{
		Bsize: uint64(st.Bsize), Frsize: uint64(st.Frsize), Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree, Favail: st.Ffree, Namemax: uint64(st.Namelen),
	}, nil
}
