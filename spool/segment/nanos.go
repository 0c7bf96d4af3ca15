package segment

import (
	"math"
	"time"
)

// Nanos returns Unix nanoseconds, as records and headers contain them. For times outside of the years 1678 to 2262, which a wrong
// clock or a foreign document may have, it returns the nearest value that 64 bits can hold; time.Time.UnixNano would return an
// arbitrary one.
func Nanos(t time.Time) int64 {
	const most = math.MaxInt64 / int64(time.Second) // the last second that is completely in range
	switch s := t.Unix(); {
	case s >= most:
		return math.MaxInt64
	case s <= -most:
		return math.MinInt64
	}
	return t.UnixNano()
}
