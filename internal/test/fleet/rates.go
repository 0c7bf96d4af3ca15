//go:build linux

package fleet

import (
	"context"
	"time"
)

// rates has how many datagrams were sent by when.
type rates []sentBy

type sentBy struct {
	at   time.Time
	sent uint64
}

// watch takes a sample each second until ctx ends.
func (r *rates) watch(ctx context.Context, sent func() uint64) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			*r = append(*r, sentBy{time.Now(), sent()})
		}
	}
}

// most is the most that was sent in a second, on average over the busiest time of this length.
func (r rates) most(over time.Duration) (most float64) {
	from := 0
	for i := range r {
		for from+1 < i && r[i].at.Sub(r[from+1].at) >= over {
			from++
		}
		if took := r[i].at.Sub(r[from].at); took >= over {
			most = max(most, float64(r[i].sent-r[from].sent)/took.Seconds())
		}
	}
	return most
}

// sent is how many lines the feeds have sent so far.
func (r *Run) sent() (n uint64) {
	for _, f := range r.feeds {
		n += f.Sent.Load()
	}
	return n
}

// datagrams is how many of them were datagrams.
func (r *Run) datagrams() (n uint64) {
	for _, f := range r.feeds {
		if isUDP(f.Run) {
			n += f.Sent.Load()
		}
	}
	return n
}

// burst is how long the busiest time is of which a form demands a rate.
const burst = 5 * time.Second

// loaded is for how long the sources have sent, and how many datagrams a second on average, and in the busiest time.
func (r *Run) loaded() (loaded time.Duration, average, most float64) {
	loaded = r.stopped.Sub(r.begun)
	return loaded, float64(r.datagrams()) / loaded.Seconds(), r.rates.most(burst)
}
