package cli

import (
	"fmt"
	"strings"
)

// Origin is the place where a value was given: a flag, a variable, or a line of the file.
type Origin struct {
	flag string
	env  string // name of the variable
	file string
	line int
	key  string // the path of keys in the file
	item string // the name in NAME=VALUE
}

// String names the place: "-dest idc", "PENSTOCK_DEST idc" or "collector.yaml:12: dest.idc".
func (o Origin) String() string {
	switch {
	case o.file != "":
		return strings.TrimSuffix(fmt.Sprintf("%s:%d: %s", o.file, o.line, o.key), ": ")
	case o.env != "":
		return strings.TrimSpace(o.env + " " + o.item)
	}
	return strings.TrimSpace("-" + o.flag + " " + o.item)
}

// Mistake is a value that cannot be used, with its place.
type Mistake struct {
	Origin
	value string // "" if it must not be shown
	err   error
}

func (m *Mistake) Error() string {
	if m.value == "" {
		return fmt.Sprintf("%v: %v", m.Origin, m.err)
	}
	return fmt.Sprintf("%v: %q: %v", m.Origin, m.value, m.err)
}

func (m *Mistake) Unwrap() error { return m.err }
