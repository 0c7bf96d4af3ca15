// Command peers measures durable appends: the spool compared with other logs for Go, and all of them with the raw disk.
//
//	cd internal/bench && go run ./peers                        # 1, 8 and 32 writers, batches of 64
//	cd internal/bench && go run ./peers -sizes 256,512,1400 -only penstock
//
// Each contestant appends batches of records, and each append returns once its batch is on stable storage. The yardstick is one
// pwrite and one fdatasync into a file whose blocks are already written. With several writers, the simplest possible group
// commit is around them ("raw"). "raw, one piece" is the bound that no contestant with several writers can reach: a single
// goroutine that writes as much at a time as all the writers together.
//
// The speed of a disk shared with others changes from minute to minute. So all contestants take turns in short bursts, in a
// different order each round, and the figure compared is the median of the ratios to the yardstick in the same round.
//
// For contestants whose syncs can be counted, two columns show where the time is spent: "sync" is how long a sync takes,
// "between" the time from its end to the start of the next, in which writers wake up, copy, check and write. If "between" is
// near zero and each sync contains half of the writers, one half prepares while the other half's sync runs.
//
// Each of the others is used as its documentation advises:
//   - pebble record: the log writer under pebble's WAL, with recycled files as pebble recycles them, and its own group commit.
//     The records of a batch are written one by one and the last is synced. "whole batch" passes all 64 as one record, as
//     pebble does with a batch of its own; a reader then has to split them.
//   - etcd wal, raft-wal, prometheus wlog, tidwall wal: these have no group commit, since their users provide one (a raft
//     loop). This program adds the simplest one, which passes all waiting batches in one call.
//   - All use segments of 64 MiB and no compression. The files that the others have written are not removed: removing them
//     would cost time, as recycling costs the spool.
package main
