// Package testserver starts real servers on loopback for tests: OpenSSH's sshd and versitygw, the ones that Penstock's
// CI proves itself against. Each has a directory, an address and keys of its own, and leaves nothing behind.
package testserver
