package audit_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship/audit"
)

// TestManifestDocument: what this package writes at a destination is in ship/MANIFEST.md, member by member, and so is each code of a
// finding that a checker can come to.
func TestManifestDocument(t *testing.T) {
	b, err := os.ReadFile("../MANIFEST.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for name, v := range map[string]reflect.Type{"repair": reflect.TypeFor[audit.Repair](), "marker": reflect.TypeFor[audit.Marker]()} {
		_, table, _ := strings.Cut(doc, "\n| "+name+" | type | presence | |\n")
		table, _, _ = strings.Cut(table, "\n\n")
		var got []string
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| (always|if not)").FindAllStringSubmatch(table, -1) {
			got = append(got, m[1]+" "+m[2])
		}
		var want []string
		for _, f := range reflect.VisibleFields(v) {
			member, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if member == "" {
				continue // the Tally itself
			}
			presence := "always"
			if options != "" {
				presence = "if not"
			}
			want = append(want, member+" "+presence)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the table of %s has\n%q, the type\n%q", name, got, want)
		}
	}
	// Of requests that a checker makes, or of its limits, and not of what is there.
	asked := []string{audit.NotAppeared, audit.Unread, audit.HourOpen, audit.Crowded}
	for code := range audit.Cures() {
		if !slices.Contains(asked, code) && !strings.Contains(doc, "`"+code+"`") {
			t.Errorf("the code %s is not in the document", code)
		}
	}
}
