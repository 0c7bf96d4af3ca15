// Package format has the formats of objects: an [Encoder] writes a segment in one of them, and a [Reader] reads its records
// back. It depends only on packages compress, spool/object and spool/segment, so that a program that reads a destination need
// not link the spool or a driver.
//
// [Names] lists the formats. [ByKey] finds an object's format and codec by its key, and [ByName] finds the format that its
// manifest line names; together with package compress that is all a reader needs:
//
//	f, codec, err := format.ByKey(key)
//	content, err := codec.NewReader(stored)
//	records, err := f.NewReader(content)
//
// # The way through the files
//
// format.go has the table of formats, and the type that describes one. Each format has files of its own: lines.go, ndjson.go
// and ndjson_read.go, native.go and native_read.go. encoder.go passes a segment to a format's writer, and output.go hashes
// and compresses the result; reader.go has the contract of readers and the line reader that two of them share. A new format
// is a file with its Format, and a line in the table. extra.go finds formats and codecs by name or ending, including those of
// the program.
package format
