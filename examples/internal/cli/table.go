package cli

import (
	"flag"
	"strings"
)

// Table returns the table of all flags for the documentation, in Markdown.
func (s *Set) Table() string {
	var b strings.Builder
	b.WriteString("| flag and key | variable | value | meaning | a change at SIGHUP |\n|---|---|---|---|---|\n")
	s.VisitAll(func(f *flag.Flag) {
		o := s.option(f.Name)
		value, usage := flag.UnquoteUsage(f)
		env, reload := "`"+Variable(f.Name)+"`", o.reload
		if o.alone {
			env, reload = "flag only", "-"
		}
		if reload == "" {
			reload = "takes a new process"
		}
		b.WriteString("| `" + strings.Join([]string{f.Name + "`", env, cell(value), cell(usage + defaultOf(f)), reload}, " | ") + " |\n")
	})
	return b.String()
}

// cell escapes the text of a cell.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;").Replace(s)
}
