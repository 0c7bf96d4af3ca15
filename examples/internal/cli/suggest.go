package cli

import "strings"

// suggest returns ", did you mean X?" for the known name that is closest to a misspelled one, or "" if none is close.
func suggest(name string, known []string) string {
	best, least := "", max(2, len(name)/3)+1
	plain := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	for _, k := range known {
		d := distance(plain, strings.ToLower(strings.ReplaceAll(k, "_", "-")))
		if strings.HasPrefix(k, plain) || strings.HasSuffix(k, "-"+plain) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance returns how many letters must be inserted, removed, replaced or swapped with the next one to turn a into b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
