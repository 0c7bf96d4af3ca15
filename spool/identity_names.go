package spool

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock-go/penstock/spool/segment"
)

const maxInstance = 255 // as long as a host name can be

// checkInstance accepts names that JSON and a log line reproduce unchanged: a name that is read back differently would start an
// epoch at each open.
func checkInstance(instance string) error {
	if len(instance) < 1 || len(instance) > maxInstance || !utf8.ValidString(instance) || strings.ContainsFunc(instance, unicode.IsControl) {
		return fmt.Errorf("instance %q does not have 1 to %d bytes of printable UTF-8", instance, maxInstance)
	}
	return nil
}

// newSpoolID returns 26 characters of [0-9a-z]: 48 bits of milliseconds, so that ids sort by their age, then 80 random
// ones, in base 32.
func newSpoolID(now time.Time) string {
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [16]byte
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand ends the process instead
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(b[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(ms))
	hi, lo := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	id := make([]byte, segment.SpoolIDLen)
	for i := segment.SpoolIDLen - 1; i >= 0; i-- {
		id[i] = digits[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(id)
}
