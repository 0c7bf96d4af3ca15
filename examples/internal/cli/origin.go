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

// Item is NAME in NAME=VALUE; "" if the value has no name.
func (o Origin) Item() string { return o.item }

// Source returns the place without the flag or key: "the command line", the variable, or the file with its line.
func (o Origin) Source() string {
	switch {
	case o.file != "":
		return fmt.Sprintf("%s:%d", o.file, o.line)
	case o.env != "":
		return o.env
	}
	return "the command line"
}

// String returns the place: "-dest idc", "PENSTOCK_DEST idc" or "collector.yaml:12: dest.idc".
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

// Error returns one line, even for several mistakes in one value.
func (m *Mistake) Error() string {
	text := strings.ReplaceAll(m.err.Error(), "\n", "; ")
	if m.value == "" {
		return fmt.Sprintf("%v: %s", m.Origin, text)
	}
	return fmt.Sprintf("%v: %q: %s", m.Origin, m.value, text)
}

func (m *Mistake) Unwrap() error { return m.err }
