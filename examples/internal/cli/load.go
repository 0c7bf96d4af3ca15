package cli

import (
	"errors"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
)

// envPrefix begins the name of every variable.
const envPrefix = "PENSTOCK_"

// Variable is the name of the variable for a flag: PENSTOCK_SPOOL_MAX_BYTES for spool-max-bytes.
func Variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Load reads the command line, then environ ("NAME=value", as os.Environ has it) and then the file that the flag fileFlag names,
// if any ("" means that there is no such flag). A flag that one of them gives is not read from those that follow: a list or a
// mapping replaces that of the others as a whole. Values of a variable for a list are separated by white space.
//
// Its only error is flag.ErrHelp. Mistakes are added to those that Err lists.
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
		args = s.Args() // what follows the mistake
		if arg, ok := strings.CutPrefix(err.Error(), "bad flag syntax: "); ok {
			name, _, _ := strings.Cut(arg, "=") // the value may be a URL with a password
			err = errors.New(name + ": it is no flag: write -NAME or -NAME=VALUE")
			args = args[1:] // package flag stops before it
		}
		s.errs = append(s.errs, err)
	}
}

// notePlain notes the flags that were given and that flag.FlagSet's own methods have defined.
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

// readEnvironment reads the variables of flags that the command line does not give.
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

// foreign reports whether a variable is one that Kubernetes or Docker sets in every container for a service of that name, or
// one that Penstock's own code uses.
func foreign(name string) bool {
	name = strings.TrimPrefix(name, envPrefix)
	return strings.HasPrefix(name, "SERVICE_") || strings.HasPrefix(name, "PORT") || strings.Contains(name, "_PORT") || strings.Contains(name, "_SERVICE_") ||
		name == "HANDOVER" || strings.HasPrefix(name, "TEST_")
}
