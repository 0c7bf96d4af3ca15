// Package penstock is an overview of Penstock, a set of packages for ingest pipelines that lose no data. They receive UDP and
// TCP traffic, keep it on the host's own disk, compress it, and deliver it to Amazon S3, to a datacenter over SFTP, or to a
// directory. At scale-in they deliver what is left on the host, ask every destination to confirm it, and report what is
// pending.
//
// # The way of a datagram
//
// A socket goroutine of [github.com/penstock-go/penstock/ingest] receives a burst with one recvmmsg(2). It hands the burst, with
// arrival times and source addresses, to the Intake of a [github.com/penstock-go/penstock/spool]. The spool copies the burst once
// into its commit buffer. Within milliseconds one pwrite writes the buffer to the active segment, and within the sync interval
// one fdatasync makes it survive a power cut. The file format is a package of its own,
// [github.com/penstock-go/penstock/spool/segment], which needs only the standard library.
//
// A segment that is large or old enough is sealed. The shipper of [github.com/penstock-go/penstock/ship] then stages it:
// [github.com/penstock-go/penstock/ship/format] encodes it to the output format, [github.com/penstock-go/penstock/compress]
// compresses it, the shipper hashes the result, and a stage record fixes its key and bytes permanently. Each destination
// receives the staged file at its own pace and creates an object only if its key is free. The object is verified once the
// size and checksum that the destination reports match. The drivers are [github.com/penstock-go/penstock/ship/s3ship],
// [github.com/penstock-go/penstock/ship/sftpship] and [github.com/penstock-go/penstock/ship/fileship];
// [github.com/penstock-go/penstock/ship/open] chooses one by URL. At each destination a chain of manifests, written in
// sequence order, lists what has arrived and proves that nothing is missing. When every destination's chain covers a segment,
// the spool deletes its files; its counts stay in the ledger. [github.com/penstock-go/penstock/ship/audit] checks the chains
// and the objects without the sender.
//
// [github.com/penstock-go/penstock/drain] ends the process. Stop keeps the spool for the next start. Drain delivers
// everything in it, has it verified, and reports. [github.com/penstock-go/penstock/drain/asg] makes an EC2 Auto Scaling group
// wait for that, [github.com/penstock-go/penstock/drain/ecs] protects an ECS task, and
// [github.com/penstock-go/penstock/drain/kube] takes part in the end of a pod. [github.com/penstock-go/penstock/drain/status]
// shows the state of all parts while they run.
//
// # Where to begin
//
// Begin with the programs in examples/: quickstart shows everything at once on one machine, and collector is the service to
// copy. Loadgen sends numbered records with checksums and checks which of them arrived. Audit finds out whether anything is
// missing, and platform simulates the platform for a manual scale-in. internal/docs/guide/words.md defines the terms.
package penstock
