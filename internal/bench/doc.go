// Package bench holds the comparisons with other software, each a command of its own:
//
//   - peers: durable appends, beside other logs for Go and the raw disk
//   - receivers: from the socket to the disk, beside rsyslog, syslog-ng and a raw socket
//   - uploads: to S3, beside the SDK's bare manager, rclone and the AWS command line
//
// The command run runs them all, and the benchmarks elsewhere in the tree that belong to them, and writes one page.
//
// It is a module of its own, so that what is compared never becomes a dependency of a program that embeds Penstock.
// The figures are in internal/docs/performance.md.
package bench
