// Command receivers compares the collector's path from socket to disk with a raw socket that discards what it reads, and with
// rsyslog and syslog-ng: the highest rate at which no datagram is lost, the CPU time per stored datagram, and how fast lines
// over TCP reach the disk.
//
//	apt-get install -y rsyslog syslog-ng-core    # the two exclude each other on Debian: one is enough
//	sysctl -w net.core.rmem_max=67108864         # for syslog-ng, which cannot force its receive buffer
//	cd internal/bench && go run ./receivers
//
// A daemon that is not installed is downloaded with `apt-get download` and unpacked next to the results, not installed. All
// programs run on loopback as separate processes, and each trial starts a fresh receiver. Sender and receiver share the
// machine, so ratios mean more than absolute figures.
//
// The sender paces datagrams of 512 bytes from eight ports. The results are counted on the receiver's disk: lines in the
// others' files, whose size must be that of as many unaltered lines, and records in our segments, read back. A rate counts as
// lossless if one of two tries lost nothing, because a shared machine is sometimes slow.
//
// Each is set up for speed, and without loss where its documentation offers that: receive buffers of 64 MiB; no parsing
// (syslog-ng) or the raw message (rsyslog); rsyslog with two receiving threads, batches, buffered asynchronous file output, and
// a queue of 2,000,000 messages in memory or a disk-assisted one; syslog-ng with two sockets and a queue of 10,000,000. None of
// them syncs its file. Penstock has one socket and an fdatasync every 10 ms.
package main
