package deploy

import (
	"strconv"
	"strings"
)

// resource is one of a plan.
type resource struct {
	address string
	args    map[string]any
	plan    Plan
}

// key is the key of for_each.
func (r resource) key() string {
	_, k, _ := strings.Cut(r.address, "[")
	return strings.TrimSuffix(k, "]")
}

// get returns the value at a path such as health_check.0.path.
func (r resource) get(path string) any { return at(r.args, path) }

func (r resource) num(path string) float64 { f, _ := r.get(path).(float64); return f }

func (r resource) str(path string) string { s, _ := r.get(path).(string); return s }

func at(v any, path string) any {
	for _, step := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}
