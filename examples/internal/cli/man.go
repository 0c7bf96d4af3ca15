package cli

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// Man prints the manual page of a program in the language of man(7), with the text that Help prints for it and each subcommand.
func (c *Command) Man(w io.Writer, version string) {
	fmt.Fprintf(w, ".TH %s 1 \"\" \"%s\" \"Penstock\"\n", strings.ToUpper(c.Name), roff(c.Name+" "+version))
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", roff(c.Name), roff(c.Does))
	fmt.Fprintln(w, ".SH SYNOPSIS")
	for _, sub := range append([]*Command{c}, append(c.Commands, c.common()...)...) {
		for _, line := range sub.Synopsis {
			fmt.Fprintf(w, ".B %s\n", roff(sub.Name))
			if line != "" {
				fmt.Fprintln(w, roffLine(line))
			}
			fmt.Fprintln(w, ".br")
		}
	}
	fmt.Fprintln(w, ".SH DESCRIPTION")
	manText(w, c.Text)
	if c.Flags != nil {
		fmt.Fprintln(w, ".SH OPTIONS")
		manFlags(w, c.Flags)
	}
	for _, sub := range c.Commands {
		fmt.Fprintf(w, ".SH %s\n%s\n", roff(strings.ToUpper(sub.Name)), roffLine(sub.Name+" "+sub.Does+"."))
		manText(w, sub.Text)
		if sub.Flags != nil {
			manFlags(w, sub.Flags)
		}
		manExit(w, ".PP\nExit codes:\n", sub.Exit)
	}
	manExit(w, ".SH EXIT STATUS\n", c.Exit)
}

// manText prints paragraphs. Indented lines are printed unchanged.
func manText(w io.Writer, text string) {
	literal := false
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimRight(line, "\n")
		if indented := strings.HasPrefix(line, " "); indented != literal && line != "" {
			literal = indented
			fmt.Fprintln(w, map[bool]string{true: ".PP\n.nf", false: ".fi"}[literal])
		}
		if line == "" {
			fmt.Fprintln(w, ".PP")
			continue
		}
		fmt.Fprintln(w, roffLine(line))
	}
	if literal {
		fmt.Fprintln(w, ".fi")
	}
}

// manFlags prints each flag with its value and its meaning.
func manFlags(w io.Writer, flags *flag.FlagSet) {
	flags.VisitAll(func(f *flag.Flag) {
		name, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, ".TP\n.BR \\-%s", roff(f.Name))
		if name != "" {
			fmt.Fprintf(w, " \" \" \\fI%s\\fR", strings.ReplaceAll(roff(name), " ", "\\ "))
		}
		fmt.Fprintf(w, "\n%s\n", roffLine(usage+defaultOf(f)))
	})
}

// defaultOf returns " (default X)", or "" if the default is a zero value or the usage names it.
func defaultOf(f *flag.Flag) string {
	if f.DefValue == "" || f.DefValue == "false" || f.DefValue == "0" || strings.Contains(f.Usage, "(default") {
		return ""
	}
	return " (default " + f.DefValue + ")"
}

// manExit prints exit codes below a heading.
func manExit(w io.Writer, heading string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprint(w, heading)
	for _, line := range lines {
		code, means, _ := strings.Cut(line, " ")
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(code), roffLine(strings.TrimSpace(means)))
	}
}

// roff escapes text.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\&...`, `"`, `\(dq`, "“", `\(dq`, "”", `\(dq`).Replace(s)
}

// roffLine escapes a line so that its first character is not read as a request.
func roffLine(s string) string {
	if s = roff(s); strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}
