package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// classesKey is the key of the file under which each class has its own settings.
const classesKey = "classes"

// file reads one YAML file into a Set. It uses the text of each scalar, and ignores the type that YAML gives it: "no" may be
// the name of a class, and 0755 is not read as an octal number.
type file struct {
	s       *Set
	name    string
	skipped map[string]bool // flags that the command line or the environment gives
}

// readFile reads the flags that were given neither on the command line nor in the environment.
func (s *Set) readFile(path string, data []byte) {
	f := &file{s: s, name: filepath.Base(path), skipped: map[string]bool{}}
	if filepath.Dir(path) != "." {
		f.name = path
	}
	for _, name := range s.names() {
		f.skipped[name] = len(s.Given(name)) > 0
	}
	top, err := document(data)
	if err != nil {
		f.bad(syntaxLine(err), "", "%s", withoutLine(err))
		s.unread = true
		return
	}
	if top == nil {
		return // an empty file
	}
	f.each(top, "", func(key, value *yaml.Node) {
		if key.Value == classesKey {
			f.each(value, classesKey, f.class)
			return
		}
		if o := f.find(key, ""); o != nil {
			f.apply(o, key.Value, value)
		}
	})
}

// document returns the top-level mapping; nil if the file is empty.
func document(data []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("yaml: line %d: a second document begins here (---); only one is read", more.Line)
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return nil, nil
	}
	return doc.Content[0], nil
}

var lineNumber = regexp.MustCompile(`line (\d+): `)

// syntaxLine returns the line that an error of the YAML package names.
func syntaxLine(err error) int {
	m := lineNumber.FindStringSubmatch(err.Error())
	if m == nil {
		return 1
	}
	n, _ := strconv.Atoi(m[1]) // only digits, so it cannot fail
	return n
}

// withoutLine returns the text of such an error without the line.
func withoutLine(err error) string {
	return strings.TrimPrefix(lineNumber.ReplaceAllString(err.Error(), ""), "yaml: ")
}

// bad notes a mistake in a line.
func (f *file) bad(line int, key, format string, a ...any) {
	f.s.errs = append(f.s.errs, &Mistake{Origin{file: f.name, line: line, key: key}, "", fmt.Errorf(format, a...)})
}

// each calls visit for each key of a mapping, and reports duplicate keys.
func (f *file) each(n *yaml.Node, at string, visit func(key, value *yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		f.bad(n.Line, at, "expected a mapping (NAME: value), found %s", describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		if key.Kind != yaml.ScalarNode {
			f.bad(key.Line, at, "%s cannot be a key", describe(key))
			continue
		}
		if line, twice := seen[key.Value]; twice {
			f.bad(key.Line, join(at, key.Value), "the key is also in line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key, value)
	}
}

// find returns the option that a key names; if there is none, it notes a mistake.
func (f *file) find(key *yaml.Node, at string) *option {
	o := f.s.option(key.Value)
	path := join(at, key.Value)
	var known []string
	for _, name := range f.s.names() {
		k := f.s.option(name)
		if !k.alone && (at == "" || k.kind == perClass || k.ofClass) {
			known = append(known, name)
		}
	}
	switch {
	case o == nil:
		if at == "" {
			known = append(known, classesKey)
		}
		f.bad(key.Line, path, "there is no such key%s", suggest(key.Value, known))
		return nil
	case o.alone:
		f.bad(key.Line, path, "this is for the command line only")
		return nil
	case at != "" && o.kind != perClass && !o.ofClass:
		f.bad(key.Line, path, "this holds for the whole process and not for one class: write it without indentation, outside of %s", classesKey)
		return nil
	}
	return o
}

// class reads the settings of one class.
func (f *file) class(name, settings *yaml.Node) {
	at := join(classesKey, name.Value)
	f.each(settings, at, func(key, value *yaml.Node) {
		o := f.find(key, at)
		if o == nil {
			return
		}
		if o.kind == perClass {
			f.scalar(o, join(at, key.Value), name.Value+"=", value)
			return
		}
		f.item(o, join(at, key.Value), name.Value, value)
	})
}

// apply reads the value of an option; the option's kind determines the expected shape.
func (f *file) apply(o *option, at string, n *yaml.Node) {
	switch o.kind {
	case single:
		f.scalar(o, at, "", n)
	case perClass:
		if n.Kind == yaml.MappingNode || strings.Contains(n.Value, "=") {
			f.bad(n.Line, at, "this is the value for all classes; the one for a class is below %s: CLASS: %s", classesKey, o.name)
			return
		}
		f.scalar(o, at, "", n)
	case list:
		if n.Kind != yaml.SequenceNode {
			f.scalar(o, at, "", n)
			return
		}
		for _, v := range n.Content {
			f.scalar(o, at, "", resolve(v))
		}
	default:
		f.each(n, at, func(key, value *yaml.Node) {
			if strings.Contains(key.Value, "=") {
				f.bad(key.Line, at, "%q is no name", key.Value)
				return
			}
			f.item(o, join(at, key.Value), key.Value, value)
		})
	}
}

// item reads the value under one name: a value, a URL with its parameters, or a list of these.
func (f *file) item(o *option, at, name string, n *yaml.Node) {
	switch {
	case n.Kind == yaml.SequenceNode:
		for _, v := range n.Content {
			if v = resolve(v); v.Kind == yaml.SequenceNode {
				f.bad(v.Line, at, "expected one value, found a list")
				continue
			}
			f.item(o, at, name, v)
		}
	case n.Kind == yaml.MappingNode && o.kind == urls:
		if u, ok := f.url(at, n); ok {
			f.take(o, at, name+"="+u, n.Line)
		}
	default:
		f.scalar(o, at, name+"=", n)
	}
}

// url returns the URL that a mapping with the key url and its parameters stands for.
func (f *file) url(at string, n *yaml.Node) (rawURL string, ok bool) {
	base, query, before := "", url.Values{}, len(f.s.errs)
	f.each(n, at, func(key, value *yaml.Node) {
		if key.Value == "url" && value.Kind == yaml.ScalarNode {
			base = value.Value
			return
		}
		if v, ok := f.parameter(join(at, key.Value), value); ok {
			query.Set(key.Value, v)
		}
	})
	if base == "" && len(f.s.errs) == before {
		f.bad(n.Line, at, "the key url is missing: it has the URL, and the other keys are its parameters")
	}
	if len(f.s.errs) > before {
		return "", false
	}
	sep := "?"
	switch {
	case len(query) == 0:
		return base, true
	case strings.Contains(base, "?"):
		sep = "&"
	}
	return base + sep + query.Encode(), true
}

// parameter returns the value of a URL parameter. A list is joined with commas; a mapping (tags) becomes k=v&k=v.
func (f *file) parameter(at string, n *yaml.Node) (value string, ok bool) {
	switch n.Kind {
	case yaml.SequenceNode:
		var all []string
		for _, v := range n.Content {
			if v = resolve(v); v.Kind != yaml.ScalarNode {
				f.bad(v.Line, at, "expected one value, found %s", describe(v))
				return "", false
			}
			all = append(all, v.Value)
		}
		return strings.Join(all, ","), true
	case yaml.MappingNode:
		pairs := url.Values{}
		f.each(n, at, func(key, v *yaml.Node) {
			if v.Kind != yaml.ScalarNode {
				f.bad(v.Line, join(at, key.Value), "expected one value, found %s", describe(v))
			}
			pairs.Set(key.Value, v.Value)
		})
		return pairs.Encode(), true
	}
	if isNull(n) {
		f.bad(n.Line, at, "the key has no value")
		return "", false
	}
	return n.Value, true
}

// scalar reads one value.
func (f *file) scalar(o *option, at, prefix string, n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode:
		f.bad(n.Line, at, "expected one value, found %s", describe(n))
	case isNull(n):
		f.bad(n.Line, at, "the key has no value")
	default:
		f.take(o, at, prefix+n.Value, n.Line)
	}
}

// take sets an option to a value, unless the command line or the environment has set it.
func (f *file) take(o *option, at, value string, line int) {
	if f.skipped[o.name] {
		return
	}
	f.s.take(o, value, Origin{file: f.name, line: line, key: at, flag: o.name})
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// isNull reports whether a key has no value.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names the kind of a node.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "one value" // do not show it: it may be a URL with a password
}

// join returns a path of keys.
func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
