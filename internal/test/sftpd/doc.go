// Package sftpd is an SFTP server in this process, for demonstrations and tests on loopback: SSH with its own host key,
// one public key that may log in, and a directory that clients cannot leave. Its keys and the known_hosts file are
// written out, so that a client connects to it the way a person would: by URL.
//
// It keeps what SFTP version 3 promises (a rename fails if the name is taken) and offers hardlink and statvfs, but no
// fsync: what it stores survives this process and not a power cut.
package sftpd
