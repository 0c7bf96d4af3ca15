package ship

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// TestSetRateWakes: a read that waits at a low rate continues at once when the rate is raised, and another limit still
// applies.
func TestSetRateWakes(t *testing.T) {
	for want, others := range map[time.Duration][]*Limiter{
		time.Second: nil, 5*time.Second - limitBurst: {NewLimiter(32 << 10)},
	} {
		synctest.Test(t, func(t *testing.T) {
			low := NewLimiter(16 << 10)
			l := &limited{ReaderAt: bytes.NewReader(make([]byte, 1<<20)), ctx: t.Context(), limiters: append(others, low), rush: &rush{}}
			l.rush.init()
			begin, done := time.Now(), make(chan time.Duration)
			go func() {
				_, _ = l.ReadAt(make([]byte, 160<<10), 0) // 10 s at 16 KiB/s
				done <- time.Since(begin)
			}()
			time.Sleep(time.Second)
			low.SetRate(1 << 30)
			if took := <-done; took != want {
				t.Errorf("it took %v, want %v", took, want)
			}
		})
	}
}
