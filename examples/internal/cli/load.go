package cli

import (
	"errors"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
)

// envPrefix is the prefix of the names of all variables.
const envPrefix = "PENSTOCK_"

// Variable returns the name of the environment variable for a flag: PENSTOCK_SPOOL_MAX_BYTES for spool-max-bytes.
func Variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Load reads the command line, then environ ("NAME=value", as from os.Environ), and then the file that the flag fileFlag names
// ("" if there is no such flag). A flag that one source gives is ignored in the later ones: its list or mapping replaces theirs
// as a whole. The values of a list in a variable are separated by white space.
//
// The only error is flag.ErrHelp. Mistakes are added to those that Err returns.
func (s *Set) Load(args, environ []string, fileFlag string) error {
	if err := s.parse(args); err != nil {
		return err
	}
	s.readEnvironment(environ)
	if fileFlag == "" {
		return nil
	}
	given := s.Given(fileFlag)
	if len(given) == 0 {
		return nil
	}
	last := given[len(given)-1]
	data, err := os.ReadFile(last.Value)
	if err != nil {
		s.errs, s.unread = append(s.errs, &Mistake{last.Origin, "", err}), true
		return nil
	}
	s.option(fileFlag).alone = true // a file does not name itself
	s.readFile(last.Value, data)
	return nil
}

// parse reads the command line, and continues after a mistake.
func (s *Set) parse(args []string) error {
	for {
		err := s.Parse(args)
		if err == nil || errors.Is(err, flag.ErrHelp) {
			s.notePlain()
			return err
		}
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			err = errors.New("-" + name + ": there is no such flag" + suggest(name, s.names()))
		}
		args = s.Args() // the arguments after the mistake
		if arg, ok := strings.CutPrefix(err.Error(), "bad flag syntax: "); ok {
			name, _, _ := strings.Cut(arg, "=") // the value may be a URL with a password
			err = errors.New(name + ": not a flag: write -NAME or -NAME=VALUE")
			args = args[1:] // package flag stops before this argument
		}
		s.errs = append(s.errs, err)
	}
}

// notePlain records the given flags that were defined by flag.FlagSet's own methods.
func (s *Set) notePlain() {
	s.Visit(func(f *flag.Flag) {
		if o := s.option(f.Name); len(o.given) == 0 {
			o.given = []Given{{f.Value.String(), Origin{flag: f.Name}}}
		}
	})
}

// names lists the flags.
func (s *Set) names() (names []string) {
	s.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

// readEnvironment reads the variables of flags that were not given on the command line.
func (s *Set) readEnvironment(environ []string) {
	vars := map[string]string{}
	for _, v := range environ {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, envPrefix) {
			vars[name] = value
		}
	}
	var known []string
	for _, name := range s.names() {
		o, env := s.option(name), Variable(name)
		if o.alone {
			continue
		}
		known = append(known, env)
		value, ok := vars[env]
		delete(vars, env)
		if !ok || len(o.given) > 0 {
			continue
		}
		values := []string{value}
		if o.kind != single {
			values = strings.Fields(value)
		}
		for _, v := range values {
			s.take(o, v, Origin{env: env, flag: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !foreign(name) {
			s.warns = append(s.warns, name+": no flag has this variable; it is ignored"+suggest(name, known))
		}
	}
}

// foreign reports whether a variable is one that Kubernetes or Docker sets in every container for a service named penstock, or
// one that Penstock's own code uses.
func foreign(name string) bool {
	name = strings.TrimPrefix(name, envPrefix)
	return strings.HasPrefix(name, "SERVICE_") || strings.HasPrefix(name, "PORT") || strings.Contains(name, "_PORT") || strings.Contains(name, "_SERVICE_") ||
		name == "HANDOVER" || strings.HasPrefix(name, "TEST_")
}
