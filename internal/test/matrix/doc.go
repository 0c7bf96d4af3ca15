// Package matrix tests the whole way from a spool to two real destinations, OpenSSH's sshd and an S3 server, under each fault
// that networks, stores and operators can cause. It contains only tests.
//
// Every row ends in the same way. The auditor finds every record once at each destination, and no receipt without its object; the
// delivered records are compared with the appended ones, byte by byte. The auditor reads the servers' own disks, without any
// protocol, so it can also look while the fault is active: then more may be pending, but nothing that a chain claims may be
// missing.
//
// The packages themselves test the server that acknowledges and closes the channel (ship/sftpship), time itself (faults
// that last for hours, in ship, with a fake clock), and kill -9 at every step (spool, on a file system in memory).
package matrix
