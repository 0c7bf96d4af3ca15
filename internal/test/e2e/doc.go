// Package e2e tests the programs under examples/ as their users run them: the collector and loadgen are separate processes,
// OpenSSH's sshd and a real S3 server are the destinations, and rsyslog is a sender.
package e2e
