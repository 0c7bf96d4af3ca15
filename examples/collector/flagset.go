package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// flagSet continues after a mistake on the command line, so that all mistakes are reported at once.
type flagSet struct {
	*flag.FlagSet
	errs    []error
	classed []classFlag
}

// classFlag is a value that was given for one class only.
type classFlag struct{ flag, class string }

func newFlagSet(name string) *flagSet {
	f := &flagSet{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	f.SetOutput(io.Discard) // err has the mistakes
	return f
}

// bad adds a mistake.
func (f *flagSet) bad(format string, a ...any) { f.errs = append(f.errs, fmt.Errorf(format, a...)) }

// err lists the mistakes.
func (f *flagSet) err() error { return errors.Join(f.errs...) }

// parse reads the command line. Its only error is flag.ErrHelp: mistakes are added to those that err lists.
func (f *flagSet) parse(args []string) error {
	for {
		err := f.Parse(args)
		if err == nil || errors.Is(err, flag.ErrHelp) {
			return err
		}
		f.bad("%w", err)
		args = f.Args() // what follows the mistake
	}
}

// help prints the flags.
func (f *flagSet) help(w io.Writer, usage string) {
	fmt.Fprint(w, usage)
	f.SetOutput(w)
	f.PrintDefaults()
}

// value defines a flag whose value set reads, each time that the flag is given.
func (f *flagSet) value(name, usage string, set func(string) error) {
	f.Func(name, usage, func(s string) error {
		if err := set(s); err != nil {
			f.bad("-%s %q: %w", name, s, err)
		}
		return nil
	})
}

// list defines a flag that may be given several times.
func (f *flagSet) list(to *[]string, name, usage string) {
	f.value(name, usage+"; repeatable", func(s string) error {
		*to = append(*to, s)
		return nil
	})
}

// size defines a flag for a number of bytes.
func (f *flagSet) size(to *int64, name, usage string) {
	f.value(name, usage, func(s string) (err error) {
		*to, err = parseSize(s)
		return err
	})
}

// duration defines a flag for a time.
func (f *flagSet) duration(to *time.Duration, name, usage string) {
	f.value(name, usage, func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return errors.New("use a time such as 90s or 10m")
		}
		*to = d
		return nil
	})
}

// perClass is a value for all classes, and those for single classes that differ.
type perClass[T any] struct {
	all  T
	only map[string]T
}

func (p perClass[T]) of(class string) T {
	if v, ok := p.only[class]; ok {
		return v
	}
	return p.all
}

// classed defines a flag that holds for all classes or, as CLASS=value, for one.
func classed[T any](f *flagSet, to *perClass[T], name, usage string, parse func(string) (T, error)) {
	f.value(name, usage+"; also CLASS=value, repeatable", func(s string) error {
		class, value, one := strings.Cut(s, "=")
		if !one {
			value = s
		}
		v, err := parse(value)
		if err != nil {
			return err
		}
		if !one {
			to.all = v
			return nil
		}
		if to.only == nil {
			to.only = map[string]T{}
		}
		to.only[class] = v
		f.classed = append(f.classed, classFlag{name, class})
		return nil
	})
}
