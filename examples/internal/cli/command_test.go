package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// program describes a program with two subcommands.
func program() *Command {
	_, s := newSettings()
	replay := NewSet("prog replay")
	var from, format string
	replay.Text(&from, "from", "`URL` to read")
	replay.Text(&format, "format", "`json|text`: form of the output (default text)")
	return &Command{
		Name: "prog", Does: "keeps records: all of them", Synopsis: []string{"-spool DIR [flags]"}, Flags: s.FlagSet,
		Text:    "A paragraph.\n\n  prog -spool /x\n\n.Another paragraph with a \\ and it's \"quoted\".",
		Choices: map[string][]string{"log-level": {"info", "debug"}},
		Exit:    []string{"0  good", "1  bad"},
		Commands: []*Command{
			{Name: "prog replay", Does: "restores", Synopsis: []string{"-from URL"}, Flags: replay.FlagSet, Text: "Restores [all] of it."},
			{Name: "prog ls", Does: "lists", Synopsis: []string{""}},
		},
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	program().Help(&out)
	for _, want := range []string{
		"prog keeps records: all of them.\n\n  prog -spool DIR [flags]\n  prog replay -from URL ",
		"\nA paragraph.\n\n  prog -spool /x\n",
		"  -grace TIME\n    \tTIME (default 10s)\n",
		"\nExit codes:\n  0  good\n  1  bad\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help lacks %q:\n%s", want, out.String())
		}
	}
}

func TestCommon(t *testing.T) {
	for _, c := range []struct {
		args     []string
		code     int
		done     bool
		out, err string
	}{
		{nil, 0, false, "", ""},
		{[]string{"-spool", "man"}, 0, false, "", ""},
		{[]string{"replay"}, 0, false, "", ""},
		{[]string{"version"}, 0, true, "prog v1\n", ""},
		{[]string{"-version"}, 0, true, "prog v1\n", ""},
		{[]string{"help", "replay"}, 0, true, "prog replay restores.", ""},
		{[]string{"help", "repaly"}, 2, true, "", `there is no command "repaly"`},
		{[]string{"completion"}, 2, true, "", "bash, zsh or fish"},
		{[]string{"completion", "ksh"}, 2, true, "", "bash, zsh or fish"},
		{[]string{"completion", "fish"}, 0, true, "complete -c prog", ""},
		{[]string{"man"}, 0, true, ".TH PROG 1", ""},
	} {
		var out, err bytes.Buffer
		code, done := program().Common(c.args, "v1", &out, &err)
		if code != c.code || done != c.done || !strings.Contains(out.String(), c.out) || !strings.Contains(err.String(), c.err) {
			t.Errorf("%q: %d %t %q %q", c.args, code, done, out.String(), err.String())
		}
	}
}

// TestBash runs completion in bash.
func TestBash(t *testing.T) {
	bash := testserver.Find(t, "bash", "bash")
	var script bytes.Buffer
	if err := program().Completion(&script, "bash"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	complete := func(words ...string) []string {
		t.Helper()
		line := "COMP_WORDS=("
		for _, w := range words {
			line += fmt.Sprintf(" '%s'", w)
		}
		cmd := exec.Command(bash, "--norc", "-c", script.String()+line+fmt.Sprintf(")\nCOMP_CWORD=%d\n_prog\nprintf '%%s\\n' \"${COMPREPLY[@]}\"", len(words)-1))
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C") // bash warns of a locale that is not installed
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Fields(string(out))
	}
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"prog", "-log"}, "-log-level"},
		{[]string{"prog", "-log-level", ""}, "info debug"},
		{[]string{"prog", "--log-level", "=", "d"}, "debug"},
		{[]string{"prog", "-log-level", "="}, "info debug"},
		{[]string{"prog", "re"}, "replay"},
		{[]string{"prog", "replay", "-f"}, "-format -from"},
		{[]string{"prog", "replay", "-format", ""}, "json text"},
		{[]string{"prog", "replay", "-from", ""}, ""},
		{[]string{"prog", "completion", "z"}, "zsh"},
		{[]string{"prog", "help", ""}, "replay ls"},
		{[]string{"prog", "-spool", ""}, ""},
	} {
		if have := strings.Join(complete(c.words...), " "); have != c.want {
			t.Errorf("%q completes to %q, want %q", c.words, have, c.want)
		}
	}
	if have := complete("prog", "-spool", filepath.Dir(dir)[:2]); !slices.ContainsFunc(have, func(s string) bool { return strings.HasPrefix(s, "/") }) {
		t.Errorf("no directory is offered: %q", have)
	}
}

// TestShells: zsh and fish can read their scripts.
func TestShells(t *testing.T) {
	for shell, args := range map[string][]string{"zsh": {"-n", "-c"}, "fish": {"-n", "-c"}} {
		t.Run(shell, func(t *testing.T) {
			path := testserver.Find(t, shell, shell)
			var script bytes.Buffer
			if err := program().Completion(&script, shell); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(path, append(args, script.String())...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v: %s\n%s", err, out, script.String())
			}
		})
	}
}

// TestMan: groff reads the page without a warning, and the text is there.
func TestMan(t *testing.T) {
	var page bytes.Buffer
	program().Man(&page, "v1")
	cmd := exec.Command(testserver.Find(t, "groff", "groff-base"), "-man", "-ww", "-Tutf8", "-P-cbou")
	cmd.Stdin = &page
	var out, warnings bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &warnings
	if err := cmd.Run(); err != nil || warnings.Len() > 0 {
		t.Fatalf("%v: %s", err, warnings.String())
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"NAME prog - keeps records", "prog -spool DIR [flags]", `.Another paragraph with a \ and it's "quoted".`,
		"-grace TIME TIME (default 10s)", "REPLAY prog replay restores.", "-format json|text json|text: form", "EXIT STATUS 0 good 1 bad",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, out.String())
		}
	}
}

// TestCalledAs: packages give programs a prefix; the manual page and the completion use the name that people type.
func TestCalledAs(t *testing.T) {
	for arg, want := range map[string]string{"/usr/bin/penstock-prog": "penstock-prog", "./prog": "prog", "/tmp/prog.test": "prog", "penstock-prog.exe": "penstock-prog"} {
		c := program()
		c.calledAs(arg)
		if c.Name != want || c.Commands[0].Name != want+" replay" || c.Find("replay") == nil {
			t.Errorf("%s: %s, %s", arg, c.Name, c.Commands[0].Name)
		}
	}
}
