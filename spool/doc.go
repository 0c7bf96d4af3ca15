// Package spool keeps records safe on the disk of the machine that received them until every destination has them. It is an
// embedded, crash-safe log of segments, each of which is delivered as one object.
//
// # The way of a record
//
// [Spool.Append] and [Spool.Offer] take batches. Both copy the batch into memory. The first caller that waits writes
// all buffered records to the active segment on behalf of all; if none waits, a background goroutine does. The spool seals a
// segment when it reaches a size or an age, or on [Spool.Seal]. Then the segment belongs to the [Shelf]: [Shelf.Sealed] lists it.
// [Shelf.Stage] encodes it into the file that will be the object, and fixes its key and bytes permanently. [Shelf.Propose]
// and [Shelf.Ack] keep, for each destination, the state of its chain of manifests ([Chain]). The spool deletes a segment
// after the chain of every destination covers it, that is, lists its records. The [segment.Ledger] counts every record.
//
// An epoch is a numbered part of the chains that one owner writes. A spool that opens under another [Options].Instance
// begins the next epoch, and so does an adopter.
//
// A program that embeds a spool needs only [Open], and the methods Append, Offer, Intake, WaitDurable, Seal, Stats, Ledger and
// Close of [Spool]. The Shelf is for packages ship and drain.
//
// # What survives what
//
//	                    Append returns after   death of the process      loss of power
//	SyncInterval        write(2)               records up to Written     records up to Durable: a sync begins within the interval
//	SyncAlways          fdatasync(2)           records up to Written     records up to Durable: every batch for which Append returned nil
//	SyncNone            write(2)               records up to Written     records up to Durable: a sync begins every 8 MiB
//	Offer, each policy  a copy in memory       records up to Written     records up to Durable
//
// The table names the records that survive; Written and Durable are fields of [Stats]. Under every policy, [Spool.WaitDurable]
// waits until a record survives a loss of power. Records are kept in the order of their sequence numbers and without holes: a crash can only remove records from the
// end of the log. After a loss of power the spool may give numbers above Stats.Durable to new records. It seals and stages
// only records up to Stats.Durable, and WaitDurable returns only for these.
//
//	a failed write or sync   the spool never writes to the file again: it writes the records that were not synced from memory to a new file
//	a failing disk           Append returns ErrFailing; accepted records stay in memory; the spool retries each second and still delivers
//	a full disk or quota     Block waits, Reject returns ErrFull and counts; a reserve keeps sealing, staging and deleting possible
//	damage in a segment      the sequence numbers of the lost records are reported and counted, all other records are delivered; the
//	                         damaged file is kept: see Damage and GiveUp
//	a lost index             Open rebuilds it from the segments
//
// A directory belongs to one process at a time ([ErrLocked]). It can be moved to another host as it is. [Adopt] delivers
// a directory whose process no longer exists, and [Inspect] reads it without changing it. [PlanRepair] says what
// Open would do in a directory, and what the operator must do before Open accepts it; its plan can be carried out.
// [ReadDirectory] and [TailDir] read a directory that another process may have open.
//
// # The way through the files
//
// From the outside in. Each file uses mainly files later in this list, and a test counts the exceptions.
//
// Tools: repair_apply.go carries out the plan of a repair, which repair.go makes by opening the spool on a view of its
// directory. repair_cures.go has the answers to refusals of Open, and repair_changes.go notes the changes of files.
// directory_segments.go and directory.go read a directory file by file, with directory_files.go for the names.
//
// The whole: open.go opens a spool and composes it of its parts. recover_end.go, recover_chain.go, recover_log.go,
// recover_header.go and recover.go find out from the files which records it holds. recover_sync.go makes durable what
// another process has written, and links.go refuses symbolic links. destinations.go compares the destinations in the options
// with the remembered ones. adopt.go opens the spool of another host, and adopt_source.go notices whether its owner
// has used it in the meantime. identity_found.go finds the identity of a spool without its spool.json, inspect.go describes a
// spool, check.go says beforehand what open.go would refuse, and giveup.go records the damage that the operator has given up.
// tail.go and tail_read.go iterate over kept records, also in the directory of another
// process. keeper.go has the goroutine that seals, deletes and prepares, stats.go the snapshot, close.go the orderly end, and
// clocks.go the outages that continue after it. spool.go has the type, the embedder's methods, and the order of all locks.
//
// The shelf, which holds the sealed segments: outages.go, join.go, leave.go, freeze.go and idle.go are small parts of the
// shipper's protocol, adopted.go marks an adopted spool as delivered. lost.go replaces a segment that cannot be read by a gap,
// relieve.go makes room on a full spool, rest.go stages part of a segment, stage.go stages all of one, stage_file.go
// writes the file, encoder.go guards against an Encoder that misbehaves and lets it give way to receivers, and swapped.go
// restores the names of files that were exchanged. prune.go deletes. next.go says which segment comes next for a destination,
// and how much is pending for each. proposal.go has the manifest that is proposed to a destination, chain.go the state of its
// chain, catalogue.go the list of segments, flights.go the reservation of one. shelf.go has the type, its guards, and the
// methods of the journal that it calls.
//
// The journal, which holds every record until its segment is sealed: pace.go has the goroutines that write and sync,
// settle.go the last write before Close. seal.go completes segments, full.go remembers how long the spool has been full.
// commit.go writes and syncs, group.go decides which appends share a sync, fault.go continues after a failure, roll.go begins
// and ends segments, at the times of clock.go. witness.go notes the newest segment outside of its file, in the pages of
// witness_page.go. append.go accepts batches, ledger.go counts, life.go notes how much is in memory, lastcall.go accepts the
// last records before the process ends. door.go, room.go and wait.go are shared by these. journal.go has the type, its guards
// and invariants, and the methods of the shelf that it calls. queue.go holds records in memory.
//
// Used by both: damages.go has the record of damage, aside.go moves damaged files to damaged/, refused.go handles failed reads.
// space.go accounts for the directory, with ledger_file.go, overdraft.go, spare.go, inodes.go, litter.go, quota.go
// and diskspace.go. state.go reads the small JSON files, layout.go has the names of all files, site.go what all parts share.
// options.go, identity.go, identity_names.go and types.go describe a spool. times.go measures how long calls take, hooks.go
// calls an embedder's hooks, and wake.go wakes a goroutine.
package spool
