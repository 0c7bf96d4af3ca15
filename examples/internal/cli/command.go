package cli

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Command describes a program, or one of its subcommands. Help, the manual page and the completion scripts are made from it.
type Command struct {
	// Name is the whole name: "audit", or "audit replay" for the subcommand.
	Name string
	// Does completes a sentence that begins with the name: "restores objects that one destination has lost".
	Does string
	// Synopsis has a line for each way to call the command, without its name: "-at URL [-at URL …] [flags]".
	Synopsis []string
	// Text is the description, in paragraphs. Indented lines are printed unchanged.
	Text string
	// Flags are the flags; nil means none.
	Flags *flag.FlagSet
	// Also are flags that another command's help describes; completion offers them too.
	Also *flag.FlagSet
	// Choices are the values that a flag accepts, by flag name; completion offers them. A flag needs no entry if its value is
	// called FILE, DIR or URL, or if its value lists its choices (`stop|drain`).
	Choices map[string][]string
	// Exit has a line for each exit code: "3  something is still owed".
	Exit []string
	// Commands are the subcommands.
	Commands []*Command
}

// Help prints what the command does, how to call it, and its flags.
func (c *Command) Help(w io.Writer) {
	fmt.Fprintf(w, "%s %s.\n\n", c.Name, c.Does)
	for _, line := range c.Synopsis {
		fmt.Fprintf(w, "  %s\n", strings.TrimSpace(c.Name+" "+line))
	}
	c.helpCommands(w)
	if c.Text != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.Text))
	}
	if c.Flags != nil {
		fmt.Fprintln(w)
		c.printDefaults(w)
	}
	if len(c.Exit) > 0 {
		fmt.Fprintf(w, "\nExit codes:\n  %s\n", strings.Join(c.Exit, "\n  "))
	}
}

// helpCommands prints the synopses of the subcommands.
func (c *Command) helpCommands(w io.Writer) {
	for _, sub := range c.Commands {
		for i, line := range sub.Synopsis {
			line = strings.TrimSpace(sub.Name + " " + line)
			if i == 0 {
				line = fmt.Sprintf("%-46s  %s", line, sub.Does)
			}
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}

// printDefaults prints the flags to w, and restores the flag set's own output.
func (c *Command) printDefaults(w io.Writer) {
	before := c.Flags.Output()
	c.Flags.SetOutput(w)
	c.Flags.PrintDefaults()
	c.Flags.SetOutput(before)
}

// Common runs the subcommands that every program has: "completion SHELL", "man", "version" (also as a flag), and "help
// [COMMAND]". done reports whether args name one of them; code is then the exit code.
func (c *Command) Common(args []string, version string, stdout, stderr io.Writer) (code int, done bool) {
	if len(args) == 0 {
		return 0, false
	}
	const usage = 2
	c.calledAs(os.Args[0])
	var out bytes.Buffer
	switch args[0] {
	case "version", "-version", "--version":
		fmt.Fprintln(&out, c.Name, version)
	case "help":
		sub := c.Find(args[1:]...)
		if sub == nil {
			fmt.Fprintf(stderr, "%s help: there is no command %q\n", c.Name, strings.Join(args[1:], " "))
			return usage, true
		}
		sub.Help(&out)
	case "man":
		c.Man(&out, version)
	case "completion":
		if len(args) != 2 || c.Completion(&out, args[1]) != nil {
			fmt.Fprintf(stderr, "use %s completion bash, zsh or fish\n", c.Name)
			return usage, true
		}
	default:
		return 0, false
	}
	if _, err := stdout.Write(out.Bytes()); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", c.Name, err)
		return 1, true
	}
	return 0, true
}

// Find returns the subcommand of c that words name; nil if there is none.
func (c *Command) Find(words ...string) *Command {
	if len(words) == 0 {
		return c
	}
	for _, sub := range c.Commands {
		if sub.word() == words[0] {
			return sub.Find(words[1:]...)
		}
	}
	return nil
}

// calledAs renames the command and its subcommands if the program's file name has a prefix, as in packages: the manual page and
// the completion of penstock-audit must use that name.
func (c *Command) calledAs(program string) {
	called := strings.TrimSuffix(filepath.Base(program), ".exe")
	if !strings.HasSuffix(called, "-"+c.Name) {
		return
	}
	for _, sub := range c.Commands {
		sub.Name = called + strings.TrimPrefix(sub.Name, c.Name)
	}
	c.Name = called
}

// word is the last word of the name.
func (c *Command) word() string { return c.Name[strings.LastIndex(c.Name, " ")+1:] }

// common are the subcommands that Common runs, for manual pages and completion.
func (c *Command) common() []*Command {
	return []*Command{
		{Name: c.Name + " completion", Does: "prints a completion script", Synopsis: []string{"bash|zsh|fish"}},
		{Name: c.Name + " help", Does: "prints the help of a command", Synopsis: []string{"[COMMAND]"}},
		{Name: c.Name + " man", Does: "prints the manual page", Synopsis: []string{""}},
		{Name: c.Name + " version", Does: "prints the version", Synopsis: []string{""}},
	}
}

// values describes the values of a flag.
type values struct {
	name    string // the name of the value in the help; "" for a flag without a value
	choices []string
	files   bool
	dirs    bool
}

// values returns the values that may follow a flag.
func (c *Command) values(f *flag.Flag) values {
	name, _ := flag.UnquoteUsage(f)
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return values{}
	}
	v := values{name: name, choices: c.Choices[f.Name]}
	switch {
	case len(v.choices) > 0:
	case strings.Contains(name, "|"):
		v.choices = strings.Split(name, "|")
	case name == "DIR":
		v.dirs = true
	case strings.HasSuffix(name, "FILE"):
		v.files = true
	}
	return v
}

// summary returns the first clause of a flag's usage, for completion menus.
func summary(f *flag.Flag) string {
	_, usage := flag.UnquoteUsage(f)
	usage, _, _ = strings.Cut(usage, "; ")
	usage, _, _ = strings.Cut(usage, " (default")
	usage, _, _ = strings.Cut(usage, ": ")
	usage, _, _ = strings.Cut(usage, "\n")
	return usage
}
