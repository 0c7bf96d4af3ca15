package deploy

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tree holds the text of all templates, by their paths below examples/deploy.
type Tree map[string]string

// Load reads the templates.
func Load(dir string) (Tree, error) {
	t := Tree{}
	return t, fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		t[path] = string(b)
		return err
	})
}

// Mutate returns a tree in which old, which must occur once in the file, is replaced.
func (t Tree) Mutate(path, old, replacement string) (Tree, error) {
	text, ok := t[path]
	if !ok {
		return nil, fmt.Errorf("there is no %s", path)
	}
	if n := strings.Count(text, old); n != 1 {
		return nil, fmt.Errorf("%s has %q %d times", path, old, n)
	}
	m := maps.Clone(t)
	m[path] = strings.Replace(text, old, replacement, 1)
	return m, nil
}

// Under returns the paths below dir whose names have the suffix, sorted.
func (t Tree) Under(dir, suffix string) (paths []string) {
	for p := range t {
		if strings.HasPrefix(p, dir+"/") && strings.HasSuffix(p, suffix) {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}
