// Command receivers compares the collector's way from socket to disk with a raw socket that discards what it reads, and
// with rsyslog and syslog-ng: the highest rate at which no datagram is lost, the CPU a stored datagram costs, and how fast
// lines over TCP reach the disk.
//
//	apt-get install -y rsyslog syslog-ng-core    # the two exclude each other on Debian: one is enough
//	sysctl -w net.core.rmem_max=67108864         # for syslog-ng, which cannot force its receive buffer
//	cd internal/bench && go run ./receivers
//
// A daemon that is not installed is downloaded with `apt-get download` and unpacked beside the results, not installed.
// Everything runs on loopback, as processes of their own, each trial with a fresh receiver; sender and receiver share the
// machine, so that absolute figures say little and ratios more.
//
// The sender paces datagrams of 512 bytes from eight ports. What arrived is counted on the receiver's disk: lines of the
// others' files, whose size must be that of so many unaltered lines, and records in our segments, read back. A rate counts
// as lossless if one of two tries lost nothing: a shared machine has its moments.
//
// How they are set up, each for speed and without loss where its documentation offers it: receive buffers of 64 MiB; no
// parsing (syslog-ng) or the raw message (rsyslog); rsyslog with two receiving threads, batches, buffered asynchronous
// file output, a queue of 2,000,000 messages in memory, or a disk-assisted one; syslog-ng with two sockets and a queue of
// 10,000,000. None of them syncs its file. Penstock has one socket and an fdatasync every 10 ms.
package main
