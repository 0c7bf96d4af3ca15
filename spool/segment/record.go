package segment

import "net/netip"

// MaxRecord is the largest payload of a record in bytes (16 MiB − 1).
const MaxRecord = 1<<24 - 1

// Record is one datagram or one framed message.
type Record struct {
	// Time of arrival, Unix nanoseconds.
	Time int64
	// Src is the sender. The zero AddrPort means unknown or none (a unix socket). IPv4-mapped addresses are stored as IPv4.
	Src netip.AddrPort
	// Data is the payload as it came. Whoever is handed a Record by a Reader may use Data only until the next call.
	Data []byte
}

// Range is an inclusive range of sequence numbers.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}
