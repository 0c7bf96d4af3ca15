package status

import (
	"flag"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/golden"
)

var update = flag.Bool("update", false, "write the golden file again")

// TestNames: the names in /status.json are an interface to scripts, so none may change unintentionally.
func TestNames(t *testing.T) {
	var got []string
	for _, v := range []any{Snapshot{}, History{}} {
		got = append(got, names(reflect.TypeOf(v), reflect.TypeOf(v).Name())...)
	}
	golden.Lines(t, filepath.Join("testdata", "names.golden"), *update, got)
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
