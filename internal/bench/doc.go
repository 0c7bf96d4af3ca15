// Package bench contains the comparisons with other software, each a command of its own:
//
//   - peers: durable appends, compared with other logs for Go and the raw disk
//   - receivers: from the socket to the disk, compared with rsyslog, syslog-ng and a raw socket
//   - uploads: to S3, compared with the SDK's bare manager, rclone and the AWS command line
//
// The command run runs all of them and the related benchmarks elsewhere in the repository, and writes one page.
//
// It is a separate module, so that the software it compares never becomes a dependency of a program that embeds Penstock.
// The figures are in internal/docs/performance.md.
package bench
