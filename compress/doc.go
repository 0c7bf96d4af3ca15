// Package compress provides the codecs of staged segments behind one small interface.
//
//	name  ext    levels (default)  writes
//	zstd  .zst   1–22 (1)          one frame, RFC 8878, with a window of 1 MiB (512 KiB at levels 1 and 2) and a checksum
//	gzip  .gz    1–9 (6)           one member, RFC 1952
//	lz4   .lz4   1–9 (1)           one frame of independent 1 MiB blocks with a content checksum
//	s2    .s2    1–3 (1)           a framed stream of 1 MiB blocks and its index
//	none         0                 the bytes as they are
//
// Each writer runs on one goroutine. To use more cores, compress several segments at the same time. Neither the ratio nor
// the output depends on the scheduler. Within one build the same input at the same level gives the same bytes, however the
// input was split into writes and whatever the pooled encoder did before. Code must not rely on that across builds, since
// a newer library may find better matches.
//
// Encoders and decoders come from pools: in the long run, each segment allocates only a few hundred bytes. Only a reader of
// zstd makes a new decoder for each stream, which costs little compared with what it reads. Nothing in the pools belongs to a
// goroutine, and none is started; streams work within testing/synctest bubbles. In use they hold:
//
//	        writer, by level                         reader
//	zstd    2 MiB (1–2), 4 (3–5), 7 (6–9), 37        1.5 MiB for what we write, 20 MiB at worst
//	gzip    1 to 1.5 MiB                             100 KiB
//	lz4     2 MiB                                    2 MiB, 8 MiB at worst
//	s2      3 MiB                                    2 MiB, 8 MiB at worst
//
// A writer makes exactly one stream: one zstd frame, gzip member or lz4 frame. Many readers stop at the end of the first one
// without an error, so records in further ones would be lost unnoticed. A zstd stream contains no skippable frame either:
// decoders should skip them (RFC 8878, 3.1.2), but that of Athena, Trino and Presto does not. The header of a zstd stream
// does not state the length of the content, which is unknown when the header is written.
//
// A reader accepts exactly one stream as well, and reports anything that is cut off or appended as [ErrCorrupt], including
// skippable frames and frames of older formats. The s2 format itself has no end mark, so its reader requires the index that
// our writer puts last, and refuses a file from elsewhere without it. With the codec none, a cut or appended end cannot be
// detected. Readers bound their memory, not the length of their output: a program that reads untrusted files must limit that
// itself.
package compress
