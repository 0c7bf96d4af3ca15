// Package units formats sizes for people, in log lines and summaries.
package units

import "fmt"

// Size formats a number of bytes with at most one decimal: 37.5 MiB. It returns a string, so that every log handler shows the
// same. Programs find the exact bytes in Stats and reports.
func Size[N int64 | uint64 | int](n N) string {
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

// Records formats a number of records and their bytes: 1200 records, 37.5 MiB.
func Records(records, bytes uint64) string {
	if records == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%d records, %s", records, Size(bytes))
}
