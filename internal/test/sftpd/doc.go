// Package sftpd is an SFTP server in this process, for demonstrations and tests on loopback. It has its own SSH host key, one
// public key that can log in, and a directory that clients cannot leave. It writes its keys and the known_hosts file to disk, so
// that a client connects to it by URL, as a person would.
//
// It keeps the promises of SFTP version 3 (a rename fails if the name is taken) and offers hardlink and statvfs, but no fsync:
// stored files survive this process, but not a power cut.
package sftpd
