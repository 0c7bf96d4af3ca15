package spool

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	spoolIDLen     = 26
	maxClass       = 32
	maxDestination = 64
	maxInstance    = 255 // as long as a host name can be
)

// matches reports whether s has 1 to n characters of [0-9a-z] and others.
func matches(s string, n int, others string) bool {
	for _, c := range []byte(s) {
		other := false
		for _, o := range []byte(others) {
			other = other || c == o
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && !other {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= n
}

func checkSpoolID(id string) error {
	if !matches(id, spoolIDLen, "") || len(id) != spoolIDLen {
		return fmt.Errorf("spool id %q is not %d characters of [0-9a-z]", id, spoolIDLen)
	}
	return nil
}

// checkClass and checkDestination keep names to what is safe in a path, a key of S3 and a log line alike.
func checkClass(class string) error {
	if !matches(class, maxClass, "_") {
		return fmt.Errorf("class %q does not match [a-z0-9_]{1,%d}", class, maxClass)
	}
	return nil
}

func checkDestination(name string) error {
	if !matches(name, maxDestination, "_-") {
		return fmt.Errorf("destination %q does not match [a-z0-9_-]{1,%d}", name, maxDestination)
	}
	return nil
}

// checkInstance takes what JSON and a log line return as it was: a name that came back changed would start an epoch at
// each open.
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
	id := make([]byte, spoolIDLen)
	for i := spoolIDLen - 1; i >= 0; i-- {
		id[i] = digits[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(id)
}
