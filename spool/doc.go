// Package spool keeps records safe on the disk of the machine that received them until every destination has them: an
// embedded, crash-safe log of segments, each of which is delivered as one object.
//
// # The way of a record
//
// [Spool.Append] and [Spool.Offer] are the two doors. Both copy a batch into memory, from where whoever waits first (or a
// goroutine, if nobody does) writes it to the active segment for all. A segment ends by size or age, or by [Spool.Seal];
// [Spool.Sealed] lists those that have ended. [Spool.Stage] encodes one into the file that will be the object, and fixes
// its key and bytes for ever. [Spool.Propose] and [Spool.Ack] keep, for each destination, the state of its chain of
// manifests ([Chain]). What every chain covers is deleted. The [segment.Ledger] counts all of it.
//
// # What survives what
//
//	                    Append returns after   death of the process   loss of power
//	SyncInterval        write(2)               everything kept        what is older than the interval (Stats.Durable)
//	SyncAlways          fdatasync(2)           everything kept        everything kept
//	SyncNone            write(2)               everything kept        what the kernel has written back (Stats.Durable)
//	Offer, all of them  a copy in memory       what Stats calls Written, then as above
//
// [Spool.WaitDurable] waits for what survives anything, under every policy. Records are kept in the order of their
// sequence numbers, and without holes: what is lost at all is lost from the end. Numbers above Stats.Durable may be given
// again after a loss of power; nothing above it is ever sealed, staged or acknowledged.
//
//	a failed write or sync   the file is never trusted again: what was not synced is still in memory, and goes to a new one
//	a failing disk           ErrFailing; what was taken stays in memory, tried again each second; reading goes on
//	a full disk or quota     Block waits, Reject returns ErrFull and counts; a reserve keeps sealing, staging and deleting possible
//	damage in a segment      the exact numbers that are lost are reported and counted, everything else is delivered; the
//	                         damaged file is kept: see Damages and GiveUp
//	a lost index             made again from the segments
//
// A directory belongs to one process at a time ([ErrLocked]). It can be moved to another host as it is. What a process that
// is gone has left in one is delivered by [Adopt], and looked at by [Inspect], without a change to it.
package spool
