package spool

import (
	"encoding/json"
	"errors"
	"fmt"
)

var errSeal = errors.New("checksum missing or wrong")

// sealJSON returns v, a struct, as a JSON object with a last member of its own: a CRC-32C over all that precedes it. So a
// file that people read and tools parse tells damage from contents, before any version's fields are looked at.
func sealJSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b[:len(b)-len("\n}")], ",\n"...)
	return append(b, sealOf(b)...), nil
}

func sealOf(b []byte) string { return fmt.Sprintf("  \"crc32c\": \"%08x\"\n}\n", valueCRC(nil, b)) }

// openJSON checks the seal and decodes into v. Members that v does not have are ignored.
func openJSON(data []byte, v any) error {
	at := len(data) - len(sealOf(nil))
	if at < 0 || string(data[at:]) != sealOf(data[:at]) {
		return errSeal
	}
	return json.Unmarshal(data, v)
}
