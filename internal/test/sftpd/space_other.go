//go:build !linux

package sftpd

import "github.com/pkg/sftp"

// StatVFS is not answered here: clients do without.
func (h handlers) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	return nil, sftp.ErrSSHFxOpUnsupported
}
