package guide

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	inline  = regexp.MustCompile("`([^`\n]+)`")
	aFlag   = regexp.MustCompile(`(?:^|[\s\[{(])-([a-z][a-z0-9-]*)`)
	heredoc = regexp.MustCompile(`(?ms)<<'?END'?.*?^END$`)
	quoted  = regexp.MustCompile(`'[^']*'|"[^"]*"`)
)

// TestFlags: every flag of our programs that a page names exists.
func TestFlags(t *testing.T) {
	build(t)
	known, every := map[string][]string{}, []string{}
	for _, program := range programs {
		page := "man"
		if program == "platform" {
			page = "-h" // is all that it has
		}
		out, err := exec.Command(filepath.Join(bin, program), page).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, page, err, out)
		}
		text := strings.NewReplacer(`\-`, "-", `\fB`, " ", `\fI`, " ", `\fR`, " ").Replace(string(out))
		for _, m := range aFlag.FindAllStringSubmatch(text, -1) {
			known[program] = append(known[program], m[1])
		}
		if len(known[program]) == 0 {
			t.Fatalf("%s has no flags:\n%s", program, out)
		}
		known[program] = append(known[program], "h")
		every = append(every, known[program]...)
	}
	for _, p := range readPages(t) {
		named := 0
		complain := func(line, name string) { t.Errorf("%s: %s: no such flag as -%s", p.name, line, name) }
		for _, c := range commands(p) {
			flags, ours := every, strings.HasPrefix(c, "-")
			for _, program := range programs {
				if word := strings.TrimPrefix(strings.Fields(c)[0], "penstock-"); word == program {
					flags, ours = known[program], true
				}
			}
			if !ours {
				continue
			}
			for _, m := range aFlag.FindAllStringSubmatch(quoted.ReplaceAllString(c, ""), -1) {
				named++
				if !slices.Contains(flags, m[1]) {
					complain(c, m[1])
				}
			}
		}
		t.Logf("%s names %d flags", p.name, named)
	}
}

// commands returns the commands of a page, from blocks and from the text, each without pipes and shell syntax around it.
func commands(p *page) (all []string) {
	for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(p.text, ""), -1) {
		all = append(all, strings.TrimSpace(m[1]))
	}
	for _, b := range p.blocks {
		if b.kind != "run" && b.kind != "not run" && b.kind != "until" {
			continue
		}
		text := strings.ReplaceAll(heredoc.ReplaceAllString(b.text, ""), "\\\n", " ")
		text = strings.ReplaceAll(text, "go run ./examples/", "")
		for _, c := range regexp.MustCompile(`[|;&\n]+|\$\(|(?:^|\s)(?:until|while|if|!)\s`).Split(text, -1) {
			if c = strings.TrimSpace(c); c != "" {
				all = append(all, c)
			}
		}
	}
	return all
}
