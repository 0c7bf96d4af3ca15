// Package compress holds the codecs of staged segments behind one small interface.
//
//	name  ext    levels (default)  writes
//	zstd  .zst   1–22 (1)          RFC 8878 frames of 1 MiB of content each, the last one shorter
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
//	zstd    5 MiB (1–2), 6 (3–5), 9 (6–9), 39        1.5 MiB for what we write, 20 MiB at worst
//	gzip    1 to 1.5 MiB                             100 KiB
//	lz4     2 MiB                                    2 MiB, 8 MiB at worst
//	s2      3 MiB                                    2 MiB, 8 MiB at worst
//
// A reader is strict: it accepts several streams one behind the other, and it reports anything cut off or appended as
// [ErrCorrupt]. Where the format itself has no end, what our writers put last is demanded, the shorter frame of zstd and
// the index of s2; a file from elsewhere without it is refused. The codec none cannot tell; that a whole zstd frame was
// left out or doubled, or that a skippable or legacy frame was put beside one of lz4 (whose legacy form has neither end nor
// checksum), shows in size and hash only, which whoever reads an object compares with its manifest. Readers bound their
// memory, not the length of their output: who reads a stranger's file puts a limit on that.
//
// zstd writes nothing but data frames, since not every reader skips what a decoder should skip (RFC 8878, 3.1.2): the one
// of Athena, Trino and Presto does not. So every tool and engine that reads zstd reads these, and [Seekable] finds the
// frames by their headers. Files with a seek table behind their frames, as this package once wrote them, are read too.
package compress
