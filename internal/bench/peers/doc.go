// Command peers measures durable appends: the spool beside other logs for Go, and all of them beside the raw disk.
//
//	cd internal/bench && go run ./peers                        # 1, 8 and 32 writers, batches of 64
//	cd internal/bench && go run ./peers -sizes 256,512,1400 -only penstock
//
// Everybody appends batches of records, and each append returns once its batch is on stable storage. The yardstick is
// one pwrite and one fdatasync into a file whose blocks are written already; with several writers, the simplest group
// commit there is around them ("raw"). "raw, one piece" is the bound nobody with several writers can reach: a single
// goroutine that writes as much at a time as all the writers together.
//
// A disk shared with others changes its speed from minute to minute. So all take turns in short bursts, in another order
// each round, and what is compared is the median of the ratios to the yardstick of the same round.
//
// Where the time goes is shown for those whose syncs can be counted: "sync" is how long one takes, "between" how long it is from
// its end to the start of the next, in which writers wake up, copy, check and write. With a "between" near zero and half of the
// writers in each sync, one half works while the other's sync runs.
//
// How the others are used, each as its documentation advises:
//   - pebble record: the log writer beneath pebble's WAL, with recycled files as pebble recycles them. Its own group
//     commit; the records of a batch are written one by one and the last is synced. "whole batch" hands it the 64 as one
//     record, as pebble does with a batch of its own: there the reader has to take them apart.
//   - etcd wal, raft-wal, prometheus wlog, tidwall wal: have no group commit of their own, since their owners bring one
//     (a raft loop); so the simplest one is built around them here. Each gets all batches that wait in one call.
//   - all with segments of 64 MiB and without compression. What the others have written stays: removing it would cost
//     them time that recycling costs us.
package main
