package sim

import (
	"math/rand/v2"
	"time"
)

// drawer makes a list of events. There are many small worlds with few faults each, so that a failing list can be reduced.
type drawer struct {
	*rand.Rand
	events []Event
	opts   int64
}

// draw returns the events for a seed.
func draw(seed uint64) []Event {
	d := &drawer{Rand: rand.New(rand.NewPCG(seed, 1))}
	troubles := []struct {
		weight int
		draw   func()
	}{
		{6, d.outage},
		{5, d.middlebox},
		{4, d.fullDisk},
		{3, d.failingDisk},
		{2, d.refused},
		{5, d.fullSpool},
		{5, d.killed},
		{8, d.damagedAfterKill},
		{8, d.damagedAtRest},
		{5, d.damagedChain},
		{6, d.copied},
		{5, d.restored},
		{5, d.adopted},
		{4, d.scaledIn},
		{4, d.restarted},
		{3, d.clock},
		{3, d.moved},
		{3, d.attached},
	}
	sum := 0
	for _, t := range troubles {
		sum += t.weight
	}
	d.opts = d.options(nil)
	if d.IntN(4) == 0 { // a fault that exists before the first start
		d.place(0, []Kind{Down, Middlebox, Slow, LoseReply, Silent}[d.IntN(5)])
	}
	d.add(0, Start, d.opts, 0)
	d.traffic(0)
	for range 1 + d.IntN(3) {
		for n, i := d.IntN(sum), 0; ; i++ {
			if n -= troubles[i].weight; n < 0 {
				troubles[i].draw()
				break
			}
		}
		d.traffic(0)
	}
	if d.IntN(3) == 0 {
		d.add(0, []Kind{Stop, Drain, Kill, Cut}[d.IntN(4)], d.Int64N(100), 0)
	}
	return d.events
}

// options draws the number of options that satisfy wanted.
func (d *drawer) options(want func(options) bool) int64 {
	for {
		n := d.Int64N(1 << 20)
		if d.IntN(4) == 0 {
			n = 0
		}
		if want == nil || want(optionsOf(n)) {
			return n
		}
	}
}

// add appends an event some time after the previous one: mostly soon, sometimes after everything has become idle.
func (d *drawer) add(host int, kind Kind, a, b int64) {
	after := time.Duration(d.Int64N(int64([]time.Duration{2 * time.Second, 20 * time.Second, 2 * time.Minute}[d.IntN(3)])))
	d.events = append(d.events, Event{after.Truncate(time.Millisecond), host, kind, a, b})
}

// soon is add with a short delay.
func (d *drawer) soon(host int, kind Kind, a, b int64) {
	after := time.Duration(d.Int64N(int64(300 * time.Millisecond))).Truncate(time.Millisecond)
	d.events = append(d.events, Event{after, host, kind, a, b})
}

// traffic sends something to a host.
func (d *drawer) traffic(host int) {
	kinds := []Kind{Append, Append, Offer, Octet, Newline, Reset}
	for range 1 + d.IntN(3) {
		d.add(host, kinds[d.IntN(len(kinds))], 1+d.Int64N(80), 20+d.Int64N([]int64{200, 1000, 3000}[d.IntN(3)]))
	}
}

// ms draws a duration between seconds and minutes.
func (d *drawer) ms() int64 { return 500 + d.Int64N([]int64{5_000, 60_000, 600_000}[d.IntN(3)]) }

// place draws an event for a destination.
func (d *drawer) place(n int, kind Kind) { d.add(n, kind, d.ms(), 0) }

func (d *drawer) outage() {
	d.place(d.IntN(3), []Kind{Down, Down, Slow, LoseReply, Silent}[d.IntN(5)])
	d.traffic(0)
	if d.IntN(3) == 0 {
		d.add(0, Drain, 0, 0)
		d.add(0, Start, d.opts, 0)
	}
}

func (d *drawer) middlebox() {
	if d.IntN(2) == 0 {
		d.add(0, []Kind{Stop, Kill}[d.IntN(2)], 0, 0)
		d.place(d.IntN(2), Middlebox)
		d.soon(0, Start, d.opts, 0)
	} else {
		d.place(d.IntN(2), Middlebox)
	}
	d.traffic(0)
	if d.IntN(2) == 0 {
		d.add(0, Drain, 0, 0)
		d.add(0, Start, d.opts, 0)
	}
}

func (d *drawer) fullDisk() {
	d.add(0, Full, []int64{0, 4, 64, 400, 1024}[d.IntN(5)], 1000+d.Int64N(60_000))
	for range 1 + d.IntN(3) {
		d.soon(0, []Kind{Append, Offer, Octet}[d.IntN(3)], 20+d.Int64N(300), 500+d.Int64N(2000))
	}
	d.traffic(0)
	if d.IntN(4) == 0 {
		d.add(0, []Kind{Stop, Drain, Kill}[d.IntN(3)], 0, 0)
	}
}

func (d *drawer) failingDisk() {
	d.add(0, Failing, d.Int64N(2), 500+d.Int64N(30_000))
	d.traffic(0)
	if d.IntN(2) == 0 {
		d.soon(0, []Kind{Stop, Kill, Cut}[d.IntN(3)], d.Int64N(100), 0)
		d.add(0, Start, d.opts, 0)
	}
}

func (d *drawer) refused() {
	if d.IntN(4) > 0 { // otherwise they are refused while the process runs, as after a remount of the file system
		d.add(0, []Kind{Stop, Kill}[d.IntN(2)], 0, 0)
	}
	for range 1 + d.IntN(2) {
		d.soon(0, Refuse, d.Int64N(100), 0)
	}
	d.add(0, Start, d.opts, 0)
	d.traffic(0)
}

// attached: the volume goes to another host, or another container.
func (d *drawer) attached() {
	if d.IntN(2) == 0 {
		d.add(0, []Kind{Stop, Cut}[d.IntN(2)], d.Int64N(100), 0)
	}
	if d.IntN(2) == 0 {
		d.add(0, Container, 0, 0)
		return
	}
	d.add(0, Move, 3, 0)
	d.traffic(3)
	d.add(3, Move, 0, 0)
}

// fullSpool fills the quota and then stops.
func (d *drawer) fullSpool() {
	d.add(0, Stop, 0, 0)
	small := d.options(func(o options) bool { return o.spool.MaxBytes <= 1<<20 })
	dest := d.IntN(2)
	d.events = append(d.events, Event{time.Minute, dest, Down, 60_000 + d.Int64N(600_000), 0})
	d.soon(0, Start, small, 0)
	d.add(0, Flood, 2+d.Int64N(15), 100+d.Int64N(150))
	d.add(0, []Kind{Stop, Stop, Drain, Kill}[d.IntN(4)], 0, 0)
	d.events = append(d.events, Event{time.Minute, 0, Start, d.opts, 0})
}

func (d *drawer) killed() {
	step, n := d.Int64N(int64(len(steps))), 1+d.Int64N(6)
	d.add(0, []Kind{KillAt, KillAt, CutAt}[d.IntN(3)], step, n)
	d.traffic(0)
	d.add(0, []Kind{Kill, Cut}[d.IntN(2)], d.Int64N(1000), 0)
	if d.IntN(3) == 0 {
		d.add(0, []Kind{KillAt, CutAt}[d.IntN(2)], d.Int64N(int64(len(steps))), 1+d.Int64N(6))
	}
	d.add(0, Start, d.opts, 0)
}

// hits draws damage to files.
func (d *drawer) hits(most int) {
	for range 1 + d.IntN(most) {
		d.soon(0, Damage, d.Int64N(1000), d.Int64N(100_000))
	}
}

// damagedAfterKill: unsent records are on the disk alone when the process is killed, and the disk is then damaged.
func (d *drawer) damagedAfterKill() {
	if d.IntN(3) > 0 {
		d.place(d.IntN(2), Down)
	}
	d.add(0, Append, 10+d.Int64N(200), 200+d.Int64N(800))
	d.add(0, []Kind{Kill, Kill, Cut, Stop}[d.IntN(4)], d.Int64N(1000), 0)
	d.hits(3)
	d.add(0, Start, d.opts, 0)
}

// damagedAtRest: files are damaged while the process has them.
func (d *drawer) damagedAtRest() {
	d.place(d.IntN(2), Down)
	d.soon(0, Append, 100+d.Int64N(200), 200+d.Int64N(800))
	d.add(0, Append, 10+d.Int64N(100), 200)
	d.hits(2)
	if d.IntN(2) == 0 {
		d.add(0, Drain, 0, 0)
		d.add(0, Start, d.opts, 0)
	}
}

// damagedChain: a small file is damaged, or restored to an older state than the files it refers to.
func (d *drawer) damagedChain() {
	d.traffic(0)
	d.add(0, []Kind{Kill, Stop, Cut}[d.IntN(3)], 0, 0)
	d.soon(0, Damage, 1+2*d.Int64N(500), []int64{olderCopy, olderCopy, deleteFile, truncate, flipBit}[d.IntN(5)]+damageKinds*d.Int64N(1000))
	d.add(0, Start, d.opts, 0)
}

func (d *drawer) copied() {
	image := d.IntN(2) == 0
	if d.IntN(3) == 0 {
		d.place(d.IntN(2), Down)
		d.soon(0, Append, 50+d.Int64N(100), 300)
	}
	if image {
		d.add(0, Stop, 0, 0)
	}
	for to := range 1 + d.IntN(2) {
		d.add(0, []Kind{Copy, FileCopy}[d.IntN(2)], int64(to+1), d.Int64N(1000))
		d.traffic(to + 1)
	}
	if image && d.IntN(2) == 0 {
		d.add(0, Start, d.opts, 0)
	}
	d.traffic(0)
}

func (d *drawer) restored() {
	d.add(0, Snapshot, 0, d.Int64N(1000))
	d.traffic(0)
	if d.IntN(3) == 0 {
		d.add(0, Stop, 0, 0)
		d.add(0, Start, d.opts, 0)
		d.traffic(0)
	}
	d.add(0, []Kind{Restore, FileRestore}[d.IntN(2)], 0, 0)
	d.soon(0, Start, d.opts, 0)
}

func (d *drawer) adopted() {
	if d.IntN(2) == 0 {
		d.place(d.IntN(2), []Kind{Down, Slow, Silent, LoseReply}[d.IntN(4)])
		d.soon(0, Append, 50+d.Int64N(100), 300)
	}
	d.add(0, []Kind{Kill, Cut, Stop}[d.IntN(3)], d.Int64N(100), 0)
	d.add(0, Adopt, d.Int64N(2), 0)
	if d.IntN(3) == 0 {
		d.add(1, Start, 0, 0)
		d.add(1, Kill, 0, 0)
	}
}

func (d *drawer) scaledIn() {
	d.add(0, Stop, 0, 0)
	fleet := d.options(func(o options) bool { return o.fleet })
	d.events = append(d.events, Event{time.Minute, 0, Start, fleet, 0})
	d.traffic(0)
	if d.IntN(2) == 0 {
		d.place(d.IntN(2), []Kind{Down, Slow, Silent, LoseReply, Middlebox}[d.IntN(5)])
	}
	d.add(0, ScaleIn, 0, 0)
	d.traffic(0)
	if d.IntN(4) == 0 {
		d.add(0, []Kind{Kill, Cut}[d.IntN(2)], 0, 0)
		d.add(0, Start, fleet, 0)
	}
}

func (d *drawer) restarted() {
	for range 1 + d.IntN(3) {
		d.add(0, []Kind{Stop, Kill, Drain}[d.IntN(3)], 0, 0)
		d.opts = d.options(nil)
		d.events = append(d.events, Event{45 * time.Second, 0, Start, d.opts, 0})
		d.traffic(0)
	}
}

func (d *drawer) clock() {
	d.add(0, Clock, d.Int64N(2), d.Int64N(100_000))
	d.add(0, Start, d.opts, 0)
}

func (d *drawer) moved() {
	d.traffic(0)
	d.add(d.IntN(2), MoveAway, d.Int64N(100), 0)
	d.add(0, Drain, 0, 0)
	d.add(0, Start, d.opts, 0)
}
