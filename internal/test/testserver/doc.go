// Package testserver starts real servers on loopback for tests: OpenSSH's sshd and versitygw, which CI also uses. Each server has
// its own directory, address and keys, and removes everything when the test ends.
package testserver
