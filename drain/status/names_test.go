package status

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestNames: the names in /status.json are an interface to scripts. To change one is a decision: UPDATE=1 writes the file.
func TestNames(t *testing.T) {
	var got []string
	for _, v := range []any{Snapshot{}, History{}} {
		got = append(got, names(reflect.TypeOf(v), reflect.TypeOf(v).Name())...)
	}
	text := strings.Join(got, "\n") + "\n"
	golden := filepath.Join("testdata", "names.golden")
	if os.Getenv("UPDATE") != "" {
		check(t, os.MkdirAll("testdata", 0o755))
		check(t, os.WriteFile(golden, []byte(text), 0o644))
	}
	want, err := os.ReadFile(golden)
	check(t, err)
	if string(want) == text {
		return
	}
	old := strings.Split(strings.TrimSpace(string(want)), "\n")
	for _, name := range got {
		if !slices.Contains(old, name) {
			t.Errorf("new: %s", name)
		}
	}
	for _, name := range old {
		if !slices.Contains(got, name) {
			t.Errorf("gone: %s", name)
		}
	}
}

// names lists the paths of all members of a type in JSON, with the kinds of their values.
func names(t reflect.Type, at string) (list []string) {
	switch {
	case t == reflect.TypeFor[time.Time](), t.Implements(reflect.TypeFor[interface{ MarshalJSON() ([]byte, error) }]()):
		return []string{at + ": " + t.Name()}
	}
	switch t.Kind() {
	case reflect.Pointer:
		for _, n := range names(t.Elem(), at) {
			list = append(list, n+" or null")
		}
	case reflect.Slice, reflect.Array:
		return names(t.Elem(), at+"[]")
	case reflect.Map:
		return names(t.Elem(), at+"{}")
	case reflect.Struct:
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-":
			case name == "":
				list = append(list, fmt.Sprintf("%s.%s has no name", at, f.Name))
			default:
				list = append(list, names(f.Type, at+"."+name)...)
			}
		}
	default:
		return []string{at + ": " + t.Kind().String()}
	}
	return list
}
