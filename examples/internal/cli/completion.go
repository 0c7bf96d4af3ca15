package cli

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Completion prints the completion script for a shell: bash, zsh or fish.
func (c *Command) Completion(w io.Writer, shell string) error {
	switch shell {
	case "bash":
		c.bash(w)
	case "zsh":
		c.zsh(w)
	case "fish":
		c.fish(w)
	default:
		return fmt.Errorf("cli: no completion for %q: use bash, zsh or fish", shell)
	}
	return nil
}

// all returns the command itself and its subcommands.
func (c *Command) all() []*Command { return append([]*Command{c}, c.subcommands()...) }

// subcommands returns the program's own subcommands and the common ones.
func (c *Command) subcommands() []*Command { return append(slices.Clone(c.Commands), c.common()...) }

// visit calls f for each flag.
func (c *Command) visit(f func(*flag.Flag)) {
	for _, flags := range []*flag.FlagSet{c.Flags, c.Also} {
		if flags != nil {
			flags.VisitAll(f)
		}
	}
}

// words returns what completion offers for a command without flags: the shells, or the names of the other commands.
func (c *Command) words(root *Command) (words []string) {
	switch c.word() {
	case "completion":
		return []string{"bash", "zsh", "fish"}
	case "help":
		for _, sub := range root.Commands {
			words = append(words, sub.word())
		}
	}
	return words
}

// bash prints a function that finds the subcommand and the flag before the cursor, and offers what may follow.
func (c *Command) bash(w io.Writer) {
	var names []string
	for _, sub := range c.subcommands() {
		names = append(names, sub.word())
	}
	fmt.Fprintf(w, `# bash completion for %[1]s; made by: %[1]s completion bash
_%[2]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=""
	if [[ $cur == = ]]; then cur=""; fi
	if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
	prev=${prev/#--/-}
	if (( COMP_CWORD > 1 )); then
		case ${COMP_WORDS[1]} in
		%[3]s) cmd=${COMP_WORDS[1]} ;;
		esac
	fi
	COMPREPLY=()
	case "$cmd $prev" in
`, c.Name, ident(c.Name), strings.Join(names, "|"))
	for _, sub := range c.all() {
		cmd := ""
		if sub != c {
			cmd = sub.word()
		}
		sub.visit(func(f *flag.Flag) {
			v := sub.values(f)
			switch {
			case v.name == "":
			case len(v.choices) > 0:
				fmt.Fprintf(w, "\t%q) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", cmd+" -"+f.Name, strings.Join(v.choices, " "))
			case v.dirs:
				fmt.Fprintf(w, "\t%q) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", cmd+" -"+f.Name)
			case v.files:
				fmt.Fprintf(w, "\t%q) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", cmd+" -"+f.Name)
			default:
				fmt.Fprintf(w, "\t%q) return ;;\n", cmd+" -"+f.Name)
			}
		})
	}
	fmt.Fprintln(w, "\tesac\n\tcase $cmd in")
	for _, sub := range c.all() {
		cmd, words := `""`, sub.words(c)
		if sub != c {
			cmd = sub.word()
		}
		sub.visit(func(f *flag.Flag) { words = append(words, "-"+f.Name) })
		if sub == c {
			fmt.Fprintf(w, "\t%s)\n\t\tCOMPREPLY=($(compgen -W %q -- \"$cur\"))\n", cmd, strings.Join(words, " "))
			fmt.Fprintf(w, "\t\tif (( COMP_CWORD == 1 )); then COMPREPLY+=($(compgen -W %q -- \"$cur\")); fi ;;\n", strings.Join(names, " "))
			continue
		}
		fmt.Fprintf(w, "\t%s) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", cmd, strings.Join(words, " "))
	}
	fmt.Fprintf(w, "\tesac\n}\ncomplete -F _%s %s\n", ident(c.Name), c.Name)
}

// zsh prints a function for the completion system of zsh(1), which shows the description of each flag.
func (c *Command) zsh(w io.Writer) {
	fmt.Fprintf(w, "#compdef %[1]s\n# made by: %[1]s completion zsh\n_%[2]s() {\n\tlocal -a commands\n\tcommands=(\n", c.Name, ident(c.Name))
	for _, sub := range c.subcommands() {
		fmt.Fprintf(w, "\t\t%s\n", quote(sub.word()+":"+strings.ReplaceAll(sub.Does, ":", `\:`)))
	}
	fmt.Fprint(w, "\t)\n\tif (( CURRENT == 2 )) && [[ $PREFIX != -* ]]; then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase ${words[2]} in\n")
	for _, sub := range append(c.subcommands(), c) {
		pattern := "*"
		if sub != c {
			pattern = sub.word()
		}
		fmt.Fprintf(w, "\t%s)\n", pattern)
		if sub != c {
			fmt.Fprint(w, "\t\tshift words; (( CURRENT-- ))\n")
		}
		fmt.Fprint(w, "\t\t_arguments")
		sub.visit(func(f *flag.Flag) { fmt.Fprintf(w, " \\\n\t\t\t%s", quote(zshFlag(f, sub.values(f)))) })
		if words := sub.words(c); len(words) > 0 {
			fmt.Fprintf(w, " \\\n\t\t\t%s", quote("1:word:("+strings.Join(words, " ")+")"))
		}
		fmt.Fprint(w, " ;;\n")
	}
	fmt.Fprintf(w, "\tesac\n}\n_%s \"$@\"\n", ident(c.Name))
}

// zshFlag returns the argument of _arguments for a flag.
func zshFlag(f *flag.Flag, v values) string {
	text := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace(summary(f))
	spec := "*-" + f.Name + "[" + text + "]"
	name := strings.NewReplacer(":", `\:`, "[", "", "]", "").Replace(v.name)
	switch {
	case v.name == "":
		return spec
	case len(v.choices) > 0:
		return spec + ":" + name + ":(" + strings.Join(v.choices, " ") + ")"
	case v.dirs:
		return spec + ":" + name + ":_files -/"
	case v.files:
		return spec + ":" + name + ":_files"
	}
	return spec + ":" + name + ": "
}

// fish prints one complete command for each flag and each subcommand.
func (c *Command) fish(w io.Writer) {
	fmt.Fprintf(w, "# made by: %[1]s completion fish\ncomplete -c %[1]s -f\n", c.Name)
	var names []string
	for _, sub := range c.subcommands() {
		names = append(names, sub.word())
		fmt.Fprintf(w, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", c.Name, sub.word(), fishQuote(sub.Does))
	}
	for _, sub := range c.all() {
		when := "not __fish_seen_subcommand_from " + strings.Join(names, " ")
		if sub != c {
			when = "__fish_seen_subcommand_from " + sub.word()
		}
		prefix := fmt.Sprintf("complete -c %s -n %s", c.Name, fishQuote(when))
		if words := sub.words(c); len(words) > 0 {
			fmt.Fprintf(w, "%s -a %s\n", prefix, fishQuote(strings.Join(words, " ")))
		}
		sub.visit(func(f *flag.Flag) {
			v, args := sub.values(f), ""
			switch {
			case v.name == "":
			case len(v.choices) > 0:
				args = " -x -a " + fishQuote(strings.Join(v.choices, " "))
			case v.dirs:
				args = " -x -a '(__fish_complete_directories)'"
			case v.files:
				args = " -r -F"
			default:
				args = " -x"
			}
			fmt.Fprintf(w, "%s -o %s%s -d %s\n", prefix, f.Name, args, fishQuote(summary(f)))
		})
	}
}

// ident turns a name into the name of a shell function.
func ident(name string) string { return strings.NewReplacer("-", "_", " ", "_").Replace(name) }

// quote quotes for zsh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fishQuote quotes for fish.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
