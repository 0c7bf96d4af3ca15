// Package segment is the format of a spool's segment files. It needs the standard library only, so that whoever receives
// segments in the native format can decode them without the rest of Penstock. FORMAT.md has the byte table.
//
// Reading: a [Reader] streams each [Record] of a segment, sealed or not, and [Scan] finds where a segment ends whose
// writer died. Writing: [EncodeHeader] begins a segment, [AppendRecord] and [Stamp] make blocks, a [Builder] gathers the
// [Footer] and seals. The [Ledger] holds the counters that travel in the log.
//
// What a reader may rely on:
//
//   - A record is returned as it was written, or not at all. Blocks that are stale, foreign, moved, doubled or altered are
//     not valid: their checksum covers the file's generation and their own place in it.
//   - What is damaged is reported, once, with the exact range of sequence numbers lost ([DamageError]), and everything
//     else is returned. Who does not look at the error stops there, and takes no gap for the end.
//   - What a crash tore off behind the last durable mark is no damage: the segment ends there, and every reader agrees
//     where.
//   - No input makes it panic, or use more memory than the largest block takes (16 MiB), and the footer.
package segment
