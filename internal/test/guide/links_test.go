package guide

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
)

// TestLinks: every file and heading that a page links to exists, and the index has every page.
func TestLinks(t *testing.T) {
	for _, p := range readPages(t) {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(p.text, ""), -1) {
			to, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", p.name, err)
				continue
			}
			if to.Scheme != "" {
				continue // nothing leaves this machine
			}
			file := filepath.Join(pages, p.name)
			if to.Path != "" {
				file = filepath.Join(pages, to.Path)
			}
			text, err := os.ReadFile(file)
			if info, statErr := os.Stat(file); err != nil && (statErr != nil || !info.IsDir()) {
				t.Errorf("%s links to %s, which does not exist", p.name, m[1])
				continue
			}
			if to.Fragment != "" && !anchors(string(text))[to.Fragment] {
				t.Errorf("%s links to %s, and there is no such heading", p.name, m[1])
			}
		}
	}
	index, err := os.ReadFile(filepath.Join(pages, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range readPages(t) {
		if p.name != "README.md" && !strings.Contains(string(index), "]("+p.name+")") {
			t.Errorf("the index lacks %s", p.name)
		}
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	return all
}
