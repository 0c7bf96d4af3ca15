// Package segment reads and writes a spool's segment files. It needs the standard library only, so that a program that
// receives segments in the native format can decode them without the rest of Penstock. FORMAT.md has the byte table.
//
// Reading: a [Reader] streams each [Record] of a segment, sealed or not. [Scan] finds the end of a segment whose writer
// died. Writing: [EncodeHeader] begins a segment, [AppendRecord] and [Stamp] make blocks, and a [Builder] computes the
// [Footer] and seals. The [Ledger] holds the counters that the log contains.
//
// # What a reader may rely on
//
//   - A record is returned as it was written, or not at all. A block that is stale, foreign, moved, duplicated or altered is
//     not valid: its checksum covers the file's generation and the block's offset in the file.
//   - [Reader.Next] returns a [DamageError] once for each damaged range, with the exact sequence numbers that are lost (Last is
//     [Unbounded] if the reader cannot know it), and the following call continues after it. A caller that stops at every error
//     stops there with an error other than io.EOF, so it cannot mistake a gap for the end of the segment.
//   - A tail that a crash has torn after the last durable mark is not damage: the segment ends there, and every reader finds the
//     same end.
//   - No input makes a reader panic, or use more memory than twice the largest block (16 MiB) plus the footer.
//
// # Attributes
//
// A record can carry a small set of key/value pairs, [Attrs]. Make a set once with [NewAttrs] and share it between records. An
// [AttrTable] writes each set once per block; a [Reader] returns the same *Attrs for the records of a set.
//
// # The way through the files
//
// From the outside in. scan.go finds the end of a segment without a footer, reader.go returns the records, and builder.go
// computes the footer of a new segment. open.go finds header and footer. walk.go goes from block to block and decides which are
// valid, window.go reads the file for it, damage.go describes damage. header.go, footer.go, block.go and
// record.go encode and decode the parts of a segment, attrtable.go the attributes in a block of records, and attrs.go has a
// single set of them. ledger.go has the counters in header and footer, with the causes of
// loss in loss.go and times in nanos.go. names.go checks names, and format.go has the constants.
package segment
