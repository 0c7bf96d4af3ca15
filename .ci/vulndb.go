// Command vulndb makes an index for govulncheck of the reports in the module golang.org/x/vulndb, which every module proxy has:
//
//	go run .ci/vulndb.go DATA/osv TO
//
// It writes TO/index and TO/ID (https://go.dev/doc/security/vuln/database).
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

// report is what the index needs of an OSV entry (https://ossf.github.io/osv-schema).
type report struct {
	ID       string   `json:"id"`
	Modified string   `json:"modified"`
	Aliases  []string `json:"aliases"`
	Affected []struct {
		Package struct{ Name string }
	}
}

type vuln struct {
	ID       string   `json:"id"`
	Modified string   `json:"modified"`
	Aliases  []string `json:"aliases,omitempty"`
}

type module struct {
	Path  string `json:"path"`
	Vulns []vuln `json:"vulns"`
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: vulndb FROM TO")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "GO-*.json"))
	if err != nil || len(files) < 1000 {
		return fmt.Errorf("%d reports in %s: is this data/osv of golang.org/x/vulndb? (%v)", len(files), from, err)
	}
	for _, dir := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
			return err
		}
	}
	modules, newest := map[string]*module{}, ""
	var vulns []vuln
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(to, "ID", r.ID+".json"), text, 0o644); err != nil {
			return err
		}
		newest = max(newest, r.Modified)
		vulns = append(vulns, vuln{ID: r.ID, Modified: r.Modified, Aliases: r.Aliases})
		for _, a := range r.Affected {
			m := modules[a.Package.Name]
			if m == nil {
				m = &module{Path: a.Package.Name}
				modules[m.Path] = m
			}
			m.Vulns = append(m.Vulns, vuln{ID: r.ID, Modified: r.Modified}) // without a version that mends it: the report says which
		}
	}
	list := make([]*module, 0, len(modules))
	for _, m := range modules {
		list = append(list, m)
	}
	for name, v := range map[string]any{"db": map[string]string{"modified": newest}, "modules": list, "vulns": vulns} {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "index", name+".json"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
