package packages

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"
)

// unit has the settings of a systemd unit, by section and key: see systemd.unit(5).
type unit map[string][]string

// readUnit parses a unit. It supports only what this project's units use: no continuation lines, no quotes.
func readUnit(path string) (unit, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	u, section := unit{}, ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case !ok || strings.HasSuffix(line, `\`) || strings.ContainsAny(value, `"'`):
			return nil, fmt.Errorf("%s: this reader does not know lines like %q", path, line)
		default:
			u[section+"."+key] = append(u[section+"."+key], value)
		}
	}
	return u, lines.Err()
}

// one returns the last value of a setting, which is the one that counts.
func (u unit) one(key string) string {
	all := u[key]
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// span returns a time span: see systemd.time(7).
func (u unit) span(key string) (time.Duration, error) {
	return time.ParseDuration(strings.Replace(u.one(key), "min", "m", 1))
}
