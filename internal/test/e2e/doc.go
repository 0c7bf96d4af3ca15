// Package e2e tests the programs under examples/ as their users run them: the collector and loadgen as processes of their
// own, OpenSSH's sshd and a real S3 server as destinations, rsyslog as a sender.
package e2e
