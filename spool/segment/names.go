package segment

import "fmt"

// SpoolIDLen is the length of a spool's id, in characters.
const SpoolIDLen = 26

// Names are safe in paths, S3 keys and log lines. Every package checks them with the functions of this file.
const (
	maxClass       = 32
	maxDestination = 64
)

// CheckSpoolID returns an error unless id is 26 characters of [0-9a-z].
func CheckSpoolID[T string | []byte](id T) error {
	if len(id) != SpoolIDLen || !only(id, "") {
		return fmt.Errorf("spool id %q is not %d characters of [0-9a-z]", id, SpoolIDLen)
	}
	return nil
}

// CheckClass returns an error unless class matches [a-z0-9_]{1,32}.
func CheckClass(class string) error {
	if len(class) < 1 || len(class) > maxClass || !only(class, "_") {
		return fmt.Errorf("class %q does not match [a-z0-9_]{1,%d}", class, maxClass)
	}
	return nil
}

// CheckDestination returns an error unless the name of a destination matches [a-z0-9_-]{1,64}.
func CheckDestination(name string) error {
	if len(name) < 1 || len(name) > maxDestination || !only(name, "_-") {
		return fmt.Errorf("destination %q does not match [a-z0-9_-]{1,%d}", name, maxDestination)
	}
	return nil
}

// only reports whether s consists of [0-9a-z] and the characters of others.
func only[T string | []byte](s T, others string) bool {
	for i := range len(s) {
		c := s[i]
		other := false
		for j := range len(others) {
			other = other || c == others[j]
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && !other {
			return false
		}
	}
	return true
}
