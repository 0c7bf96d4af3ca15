// Package statefile reads and writes the spool's small JSON files, each of which ends with a checksum of its own.
//
// # The way through the files
//
// load.go reads a file, and has the table of answers to what may be wrong with it. seal.go is the checksum.
package statefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

var (
	// ErrNewer: a file was written by a newer version of this program.
	ErrNewer = errors.New("spool: made by a newer version of this program; use that, or one newer still")
	// ErrSeal: the checksum of a file is missing or wrong.
	ErrSeal = errors.New("checksum missing or wrong")
)

// Seal returns v, a struct, as a JSON object whose last member is a CRC-32C of everything before it. So people can read the file,
// tools can parse it, and damage is detected before any other member is read, whatever the version.
func Seal(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b[:len(b)-len("\n}")], ",\n"...)
	return append(b, SealOf(b)...), nil
}

// SealSize is the length of the last member with the end of the object.
var SealSize = len(SealOf(nil))

// SealOf returns the last member of a file that begins with b.
func SealOf(b []byte) string { return fmt.Sprintf("  \"crc32c\": \"%08x\"\n}\n", Checksum(b)) }

// Open checks the seal and decodes into v. Members that v does not have are ignored.
func Open(data []byte, v any) error {
	at := len(data) - SealSize
	if at < 0 || string(data[at:]) != SealOf(data[:at]) {
		return ErrSeal
	}
	return json.Unmarshal(data, v)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// start is the checksum of four zero bytes, the length of an empty key: the index seals its entries, which have keys, by the
// same rule.
var start = crc32.Update(0, castagnoli, make([]byte, 4))

// Checksum returns the checksum in the seal of a file that begins with b.
func Checksum(b []byte) uint32 { return crc32.Update(start, castagnoli, b) }
