package status

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/units"
)

// unknown is shown for an unknown number.
const unknown = "–"

// count formats a number in full, with separators: 1,234,567.
func count[N int | int64 | uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	if uint64(n) > math.MaxInt64 && n > 0 {
		s = strconv.FormatUint(uint64(n), 10)
	}
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	b.WriteString(s[:len(s)-len(digits)])
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// short formats a number with three digits: 12.3k.
func short(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return unknown
	case v < 0:
		return "-" + short(-v)
	case v == 0:
		return "0"
	case v < 0.1:
		return "<0.1"
	case v < 10:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	case v < 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	units := "kMGTPE"
	i := -1
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	digits := 0
	if v < 99.95 {
		digits = 1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', digits, 64), ".0") + units[i:i+1]
}

// size formats a number of bytes: 37.5 MiB.
func size(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return unknown
	}
	return units.Size(int64(min(max(v, 0), math.MaxInt64/2)))
}

// length formats a duration in at most two units: 3h 12m.
func length(s float64) string {
	s = math.Round(s)
	switch {
	case math.IsNaN(s) || math.IsInf(s, 0):
		return unknown
	case s < 60:
		return fmt.Sprintf("%.0fs", s)
	case s < 3600:
		return pair(s, 60, "m", 1, "s")
	case s < 48*3600:
		return pair(s, 3600, "h", 60, "m")
	case s < 365*86400:
		return pair(s, 86400, "d", 3600, "h")
	}
	return "over a year"
}

func pair(s, large float64, l string, small float64, m string) string {
	a := math.Floor(s / large)
	b := math.Floor((s - a*large) / small)
	if b == 0 {
		return fmt.Sprintf("%.0f%s", a, l)
	}
	return fmt.Sprintf("%.0f%s %.0f%s", a, l, b, m)
}

// ago formats how long ago a time was.
func ago(now time.Time, t *time.Time) string {
	if t == nil {
		return "never"
	}
	return length(max(0, now.Sub(*t).Seconds())) + " ago"
}

// opt formats a number that may be unknown.
func opt(write func(float64) string, v *float64) string {
	if v == nil {
		return unknown
	}
	return write(*v)
}

// quick formats a duration that is usually short: 4 ms.
func quick(s float64) string {
	switch {
	case s < 0.001:
		return fmt.Sprintf("%.1f ms", s*1e3)
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1e3)
	}
	return length(s)
}

// records formats a number of records.
func records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return count(n) + " records"
}
