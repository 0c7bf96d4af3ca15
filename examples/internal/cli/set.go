package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Set is a set of flags, each of which may also be given by a variable or in a file: see Load. Its methods define flags like
// those of flag.FlagSet, which may be used as well. In the file, a flag has one of four shapes:
//
//   - one value, the shape of every flag that is not one of the following;
//   - a list, see List;
//   - named values, such as listeners by class: see Named;
//   - a value for all classes, and others for single ones: see PerClass.
type Set struct {
	*flag.FlagSet
	options map[string]*option
	errs    []error
	warns   []string
	unread  bool // the file could not be read
}

// option holds what is known about a flag in addition to its flag.Flag.
type option struct {
	name string
	set  func(string) error
	kind kind
	// alone: the flag exists on the command line only.
	alone bool
	// ofClass: the names of the flag's values are classes, so that the file may give the flag below a class.
	ofClass bool
	// reload says what a change of the value does while the program runs; "" means that the change needs a new process.
	reload string

	given []Given
}

// kind is the shape of a flag's values in the file.
type kind uint8

const (
	single kind = iota
	list
	named // NAME=VALUE
	urls  // NAME=URL
	perClass
)

// Given is one value that a flag was given.
type Given struct {
	Value string
	Origin
}

// NewSet returns an empty Set for the program of that name.
func NewSet(name string) *Set {
	s := &Set{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), options: map[string]*option{}}
	s.SetOutput(io.Discard) // Err returns the mistakes instead
	return s
}

// add defines a flag whose values are passed to set.
func (s *Set) add(name, usage string, k kind, set func(string) error) *option {
	o := &option{name: name, set: set, kind: k}
	s.options[name] = o
	s.Func(name, usage, func(v string) error {
		s.take(o, v, Origin{flag: name})
		return nil // take has recorded the mistake; without an error here, the rest of the command line is read, too
	})
	return o
}

// take sets a value, and records where it was given.
func (s *Set) take(o *option, value string, at Origin) {
	at.item = o.item(value)
	o.given = append(o.given, Given{value, at})
	if err := o.set(value); err != nil {
		s.errs = append(s.errs, &Mistake{at, o.shown(value), err})
	}
}

// item returns NAME of NAME=VALUE.
func (o *option) item(value string) string {
	if name, _, ok := strings.Cut(value, "="); ok && o.kind >= named {
		return name
	}
	return ""
}

// shown returns a value as messages may show it. A URL is not shown, because it may contain a password.
func (o *option) shown(value string) string {
	if o.kind == urls || strings.Contains(value, "://") {
		return ""
	}
	return value
}

// Value defines a flag whose value is passed to set.
func (s *Set) Value(name, usage string, set func(string) error) { s.add(name, usage, single, set) }

// Text defines a flag for any text.
func (s *Set) Text(to *string, name, usage string) {
	s.add(name, usage, single, func(v string) error { *to = v; return nil })
}

// List defines a flag that may be given several times. In the file its values are a list.
func (s *Set) List(to *[]string, name, usage string) {
	s.add(name, usage+"; repeatable", list, func(v string) error { *to = append(*to, v); return nil })
}

// Named defines a flag whose values have the form NAME=VALUE. In the file they are a mapping by name, whose values may be lists.
func (s *Set) Named(name, usage string, set func(string) error) { s.add(name, usage, named, set) }

// URLs is Named for values that are URLs. In the file, a mapping may stand for a URL: its key url contains the URL, and each
// other key is a URL parameter.
func (s *Set) URLs(name, usage string, set func(string) error) { s.add(name, usage, urls, set) }

// Size defines a flag for a number of bytes.
func (s *Set) Size(to *int64, name, usage string) {
	s.add(name, usage, single, func(v string) (err error) { *to, err = ParseSize(v); return err })
}

// Duration defines a flag for a time.
func (s *Set) Duration(to *time.Duration, name, usage string) {
	s.add(name, usage, single, func(v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return errors.New("use a time such as 90s or 10m")
		}
		*to = d
		return nil
	})
}

// Choice defines a flag that accepts one of several values.
func (s *Set) Choice(to *string, name, usage string, choices ...string) {
	s.add(name, usage, single, func(v string) error {
		if !slices.Contains(choices, v) {
			return fmt.Errorf("use %s", OneOf(choices))
		}
		*to = v
		return nil
	})
}

// PerClass is a value for all classes, with exceptions for single classes.
type PerClass[T any] struct {
	All  T
	Only map[string]T
}

// Of returns the value for a class.
func (p PerClass[T]) Of(class string) T {
	if v, ok := p.Only[class]; ok {
		return v
	}
	return p.All
}

// Classed defines a flag that applies to all classes or, as CLASS=value, to one. In the file, the key at the top level applies
// to all classes, and the key below classes and a class applies to that class.
func Classed[T any](s *Set, to *PerClass[T], name, usage string, parse func(string) (T, error)) {
	s.add(name, usage+"; also CLASS=value, repeatable", perClass, func(given string) error {
		class, value, one := strings.Cut(given, "=")
		if !one {
			value = given
		}
		v, err := parse(value)
		if err != nil {
			return err
		}
		if !one {
			to.All = v
			return nil
		}
		if to.Only == nil {
			to.Only = map[string]T{}
		}
		to.Only[class] = v
		return nil
	})
}

// OfClasses notes that the names of a flag's values are classes: in the file its values may also be below classes and the class.
func (s *Set) OfClasses(name string) { s.option(name).ofClass = true }

// FlagOnly excludes flags from the environment and the file: the flags that make the program do something other than its
// service, and the flag that names the file.
func (s *Set) FlagOnly(names ...string) {
	for _, name := range names {
		s.option(name).alone = true
	}
}

// Reloads notes, for the table, what a change of flags does while the program runs. A change of any other flag needs a new
// process.
func (s *Set) Reloads(does string, names ...string) {
	for _, name := range names {
		s.option(name).reload = does
	}
}

// option returns the option of a flag. A flag that was defined by the methods of flag.FlagSet has the shape of one value.
func (s *Set) option(name string) *option {
	if o := s.options[name]; o != nil {
		return o
	}
	f := s.Lookup(name)
	if f == nil {
		return nil
	}
	o := &option{name: name, set: f.Value.Set}
	s.options[name] = o
	return o
}

// Given returns the values of a flag in the order in which they were read; nil if the flag was not given.
func (s *Set) Given(name string) []Given {
	if o := s.options[name]; o != nil {
		return o.given
	}
	return nil
}

// Changed lists the flags whose given values in s differ from those in before.
func (s *Set) Changed(before *Set) (names []string) {
	s.VisitAll(func(f *flag.Flag) {
		if !maps.Equal(tally(s.Given(f.Name)), tally(before.Given(f.Name))) {
			names = append(names, f.Name)
		}
	})
	return names
}

// tally counts values, ignoring their order and places.
func tally(given []Given) map[string]int {
	m := map[string]int{}
	for _, g := range given {
		m[g.Value]++
	}
	return m
}

// Bad adds a mistake that was found after Load in the value of a flag. item is the name in NAME=VALUE, one value of several, or
// "".
func (s *Set) Bad(name, item, format string, a ...any) {
	s.BadAt(s.Origin(name, item), format, a...)
}

// BadAt adds a mistake at a place.
func (s *Set) BadAt(at Origin, format string, a ...any) {
	s.errs = append(s.errs, &Mistake{at, "", fmt.Errorf(format, a...)})
}

// Stray adds a mistake for an argument that belongs to no flag.
func (s *Set) Stray(arg string) {
	s.errs = append(s.errs, fmt.Errorf("unexpected argument %q: flags begin with -, and a value follows its flag", arg))
}

// OfOneClass returns the values given for single classes to flags that Classed has defined, in the order of the flags' names.
func (s *Set) OfOneClass() (given []Given) {
	for _, name := range s.names() {
		for _, g := range s.Given(name) {
			if s.option(name).kind == perClass && g.item != "" {
				given = append(given, g)
			}
		}
	}
	return given
}

// Origin returns where a flag, or its value for item, was given. A flag that was not given is named as a flag.
func (s *Set) Origin(name, item string) Origin {
	for _, g := range slices.Backward(s.Given(name)) {
		if item == "" || g.item == item || g.Value == item {
			return g.Origin
		}
	}
	return Origin{flag: name, item: item}
}

// Err lists the mistakes, nil if there are none.
func (s *Set) Err() error { return errors.Join(s.errs...) }

// Unread reports whether Load could not read the file at all. Missing settings may then be in the file.
func (s *Set) Unread() bool { return s.unread }

// Mistakes returns the parts of Err.
func (s *Set) Mistakes() []error { return slices.Clone(s.errs) }

// Warnings returns what Load found suspicious but not wrong.
func (s *Set) Warnings() []string { return s.warns }

// ParseSize reads a number of bytes: 1048576, 64KiB, 64MiB, 2GiB, 1TiB.
func ParseSize(s string) (int64, error) {
	num, shift := s, 0
	for suffix, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			num, shift = n, by
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n <= 0 || n > (math.MaxInt64/2+1)>>shift {
		return 0, errors.New("use a positive number of bytes, plain or with KiB, MiB, GiB or TiB")
	}
	return n << shift, nil
}

// OneOf returns "a, b or c".
func OneOf(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
