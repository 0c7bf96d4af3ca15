// Package penstock is the map of Penstock, a set of packages for ingest pipelines that lose nothing: they take in UDP and
// TCP traffic, keep it on the host's own disk, compress it, and deliver it to Amazon S3, to a datacenter over SFTP, or to
// a directory; at scale-in they empty the host, have every destination confirm what it holds, and say what is left.
//
// # The way of a datagram
//
// A socket goroutine of [github.com/penstock-go/penstock/ingest] receives a burst with one recvmmsg(2) and hands it, with
// arrival times and source addresses, to the Intake of a [github.com/penstock-go/penstock/spool]. The spool copies it once
// into its commit buffer; within milliseconds the buffer is one pwrite into the active segment, and within the sync
// interval one fdatasync makes it survive a power cut. The file format has a package of its own,
// [github.com/penstock-go/penstock/spool/segment], which needs the standard library only.
//
// A segment that is large or old enough is sealed. The shipper of [github.com/penstock-go/penstock/ship] stages it: encoded
// by [github.com/penstock-go/penstock/ship/format], compressed by [github.com/penstock-go/penstock/compress], hashed on the
// way, and fixed permanently by a stage record. The staged file goes to every destination at its own pace, created only if its key is free, and counts as
// delivered once the destination's own account of it matches: [github.com/penstock-go/penstock/ship/s3ship],
// [github.com/penstock-go/penstock/ship/sftpship], [github.com/penstock-go/penstock/ship/fileship]. A chain of manifests,
// written in sequence order, says at each destination what has arrived and that nothing is missing. When every
// destination's chain covers a segment its files are deleted; its counts stay in the ledger.
//
// [github.com/penstock-go/penstock/drain] ends the process: Stop keeps the spool for the next start, Drain empties it, has
// everything verified, and reports. [github.com/penstock-go/penstock/drain/asg] lets an EC2 Auto Scaling group wait for that.
//
// # Where to begin
//
// The programs under examples/: quickstart shows everything at once on one machine, collector is the service to copy,
// loadgen sends records that prove themselves and checks what arrived.
package penstock
