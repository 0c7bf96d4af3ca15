// Package units formats numbers for people, in the same way in all programs.
package units

import (
	"fmt"
	"strconv"
)

// Size formats a number of bytes in its largest unit: 37.5 MiB.
func Size[N int64 | uint64](n N) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, prefix := float64(n), 0
	for f >= unit && prefix < len("KMGTPE") {
		f, prefix = f/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTPE"[prefix-1])
}

// Grouped formats a number with a comma between groups of three digits: 1,234,567.
func Grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
