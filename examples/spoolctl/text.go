package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/spool/segment"
)

// quoted quotes an argument for a shell.
func quoted(arg string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-+:,@%=", r))
	}
	switch {
	case arg != "" && strings.IndexFunc(arg, func(r rune) bool { return !plain(r) }) < 0:
		return arg
	case utf8.ValidString(arg) && strings.IndexFunc(arg, func(r rune) bool { return !unicode.IsPrint(r) }) < 0:
		return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return "$" + "'" + strings.ReplaceAll(string(appendEscaped(nil, []byte(arg))), "'", `\'`) + "'" // known to bash, zsh and POSIX 2024
}

// count returns a number with a noun, in the plural if necessary.
func count[T int | uint64](n T, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// stamp formats a time for people, "-" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// numbers formats ranges of sequence numbers.
func numbers(ranges []segment.Range) string {
	list := make([]string, len(ranges))
	for i, r := range ranges {
		list[i] = span(r.First, r.Last)
	}
	return strings.Join(list, ",")
}

// span formats a range of sequence numbers, "-" for none.
func span(first, last uint64) string {
	switch {
	case last < first:
		return "-"
	case last == segment.Unbounded:
		return fmt.Sprintf("%d…", first)
	case last == first:
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// table writes lines of tab-separated cells, in columns.
func table(w io.Writer, lines ...string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		cells := strings.Split(line, "\t")
		for i := range cells {
			cells[i] = terminal.Printable(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush()
}
