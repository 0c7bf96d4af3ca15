// Package compress holds the codecs of staged segments behind one small interface.
//
//	name  ext    levels (default)  writes
//	zstd  .zst   1–22 (1)          one frame, RFC 8878, with a window of 1 MiB and a checksum
//	gzip  .gz    1–9 (6)           one member, RFC 1952
//	lz4   .lz4   1–9 (1)           one frame of independent 1 MiB blocks with a content checksum
//	s2    .s2    1–3 (1)           a framed stream of 1 MiB blocks and its index
//	none         0                 the bytes as they are
//
// Every writer is one single-threaded encoder: whoever has more cores compresses more segments at once, which costs
// no ratio and keeps the order of bytes out of the scheduler's hands. The same input at the same level gives the same
// bytes within one build, however the input was cut into writes and whatever the pooled encoder did before. Nothing
// may rely on that across builds, since a library may find a better match tomorrow.
//
// Encoders and decoders come from pools: in the long run a new segment allocates a few hundred bytes. Nothing in the
// pools belongs to a goroutine, and none is started; streams work within testing/synctest bubbles. In use they hold:
//
//	        writer, by level                         reader
//	zstd    3 MiB (1–2), 4 (3–5), 7 (6–9), 37        1.5 MiB for what we write, 20 MiB at worst
//	gzip    1 to 1.5 MiB                             100 KiB
//	lz4     2 MiB                                    2 MiB, 8 MiB at worst
//	s2      3 MiB                                    2 MiB, 8 MiB at worst
//
// A writer makes exactly one stream: one zstd frame, gzip member or lz4 frame. Many readers stop at the end of the first
// one and report no error, so that a file of several would lose records without anybody noticing. A zstd stream contains no
// skippable frame either: not every reader skips what a decoder should skip (RFC 8878, 3.1.2), and the one of Athena, Trino
// and Presto does not. Its header does not state the length of the content, which is not known when the header is written.
//
// A reader accepts exactly one stream as well, and reports anything that is cut off or appended as [ErrCorrupt], skippable
// frames and frames of older formats included. Where the format itself has no end, a reader demands what our writers put
// last, the index of s2; a file from elsewhere without it is refused. The codec none cannot tell. Readers bound their
// memory, not the length of their output: whoever reads a stranger's file puts a limit on that.
package compress
