// Package format has the formats that the content of objects can have: how a segment is written in each of them
// ([Encoder]), and how its records are read back ([Reader]). It depends on packages compress, spool/object and spool/segment only,
// so that a program that reads a destination builds neither the spool nor a driver.
//
// [Names] lists the formats. [ByKey] tells from an object's key how it is encoded, [ByName] from its manifest line; together
// with package compress that is all a reader needs:
//
//	f, codec, err := format.ByKey(key)
//	content, err := codec.NewReader(stored)
//	records, err := f.NewReader(content)
//
// # The way through the files
//
// format.go has the table of formats and what each one is described by. Each format has files of its own: lines.go,
// ndjson.go and ndjson_read.go, native.go and native_read.go. encoder.go drives a format's writer over a segment, and
// output.go hashes and hands on what it writes; reader.go has the contract of readers and the lines that two of them share.
// A new format is a file with its Format, and a line in the table. extra.go finds formats and codecs by name or ending, those of
// the program included.
package format
