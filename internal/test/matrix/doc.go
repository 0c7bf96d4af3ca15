// Package matrix tests the whole way from a spool to two real destinations, OpenSSH's sshd and an S3 server, under
// each fault that networks, stores and operators have in store. It has tests only.
//
// Every row has the same end: the auditor finds every record once at each destination, and nothing receipted that is not
// there; what lies there is compared with what was appended, byte by byte. The auditor reads the servers' own disks, past
// all protocols, so that it can also look while the fault is on: then more may be owed, but nothing that a chain claims may
// be missing.
//
// Not here but in the packages: the server that acknowledges and closes the channel (ship/sftpship), time itself (faults
// that last for hours, in ship, with a fake clock), and kill -9 at every step (spool, on a file system in memory).
package matrix
