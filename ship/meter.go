package ship

import (
	"math"
	"time"
)

// meterTau is the time over which a rate is averaged.
const meterTau = 30 * time.Second

// meter measures a rate, as an exponentially weighted mean. The zero value is ready.
type meter struct {
	begin, at time.Time
	rate      float64 // as of at, not corrected for the time since begin
}

func (m *meter) decay(now time.Time) float64 {
	return m.rate * math.Exp(-now.Sub(m.at).Seconds()/meterTau.Seconds())
}

// add counts n units.
func (m *meter) add(n uint64, now time.Time) {
	if m.begin.IsZero() {
		m.begin, m.at = now, now
	}
	m.rate = m.decay(now) + float64(n)/meterTau.Seconds()
	m.at = now
}

// perSecond returns the rate. At first it averages over the time that has passed since begin, at least a second.
func (m *meter) perSecond(now time.Time) float64 {
	if m.begin.IsZero() {
		return 0
	}
	age := max(now.Sub(m.begin), time.Second)
	return m.decay(now) / (1 - math.Exp(-age.Seconds()/meterTau.Seconds()))
}
