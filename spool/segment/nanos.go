package segment

import (
	"math"
	"time"
)

// Nanos returns Unix nanoseconds, as records and headers have them. Times outside of the years 1678 to 2262, which a wrong
// clock or a foreign document may show, become the nearest that 64 bits can hold; time.Time.UnixNano would turn them into
// arbitrary others.
func Nanos(t time.Time) int64 {
	const most = math.MaxInt64 / int64(time.Second) // the seconds that are wholly within
	switch s := t.Unix(); {
	case s >= most:
		return math.MaxInt64
	case s <= -most:
		return math.MinInt64
	}
	return t.UnixNano()
}
