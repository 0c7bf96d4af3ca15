package udprelay

import (
	"maps"
	"os"
	"strconv"
	"strings"
	"time"
)

// counting makes an account from the table's counters. The kernel reads them one by one while datagrams pass, "in" first. So
// "in" is a little older than the others, and the difference between it and the others is at most the datagrams that were lost
// plus those in transit.
type counting struct {
	now  map[string]uint64
	base Account // of former tables and counters
	// lost is how many datagrams certainly never came out.
	lost   uint64
	recent []reading

	unfinished uint64 // the kernel's count when counting began
}

// reading is how many datagrams were missing at a time; negative if the other counters were newer.
type reading struct {
	at      time.Time
	missing int64
}

// lasting is how long a difference must last to count as loss. A datagram normally passes from one counter to the other in
// microseconds; a rule of another table can pass it to a program that holds it for longer (NFQUEUE).
const lasting = 4 * time.Second

func newCounting() counting {
	return counting{now: map[string]uint64{}, base: Account{Out: nil, Dropped: map[Cause]uint64{}}, unfinished: unfinished()}
}

// note takes over the values of the counters. If another program has reset them, or the table was removed and made again, the
// account continues from the former values.
func (c *counting) note(counters map[string]uint64, now time.Time) {
	for name, n := range c.now {
		if m, ok := counters[name]; ok && m < n {
			c.restart()
			break
		}
	}
	c.now = counters
	c.recent = append(c.recent, reading{now, c.missing()})
	for len(c.recent) > 1 && now.Sub(c.recent[1].at) > lasting {
		c.recent = c.recent[1:]
	}
	if now.Sub(c.recent[0].at) <= lasting {
		return
	}
	least := c.recent[0].missing
	for _, r := range c.recent {
		least = min(least, r.missing)
	}
	if least > 0 {
		c.lost = max(c.lost, uint64(least))
	}
}

// missing is how many datagrams, by the counters, have come in and have neither gone out nor been dropped.
func (c *counting) missing() int64 {
	missing := int64(c.now[inCounter]) - int64(c.now[noTargetCounter])
	for name, n := range c.now {
		if _, ok := targetOf(name); ok {
			missing -= int64(n)
		}
	}
	return missing
}

// settle counts everything that is missing as lost, because nothing comes in any more.
func (c *counting) settle() { c.lost = uint64(max(0, c.missing())) }

// restart begins with new counters, and keeps the values of the former ones in base.
func (c *counting) restart() {
	c.settle()
	a := c.account()
	a.Unfinished = 0
	c.base, c.now, c.lost, c.recent = *a, map[string]uint64{}, 0, nil
}

func (c *counting) account() *Account {
	a := &Account{In: c.now[inCounter], Out: maps.Clone(c.base.Out), Dropped: maps.Clone(c.base.Dropped)}
	if a.Out == nil {
		a.Out = newOut()
	}
	sum := c.now[noTargetCounter]
	for name, n := range c.now {
		if t, ok := targetOf(name); ok {
			a.Out[t] += n
			sum += n
		}
	}
	// Whatever has come out has come in before.
	a.In = max(a.In, sum)
	lost := min(c.lost, a.In-sum)
	a.Passing = a.In - sum - lost
	a.Dropped[NoTarget] += c.now[noTargetCounter]
	a.Dropped[Unforwarded] += lost
	a.In += c.base.In
	a.Unfinished = max(unfinished(), c.unfinished) - c.unfinished // a reading may fail
	return a
}

// unfinished returns how often the kernel has given up a datagram with missing fragments, 0 if that is unknown.
func unfinished() (n uint64) {
	if b, err := os.ReadFile("/proc/net/snmp"); err == nil {
		var names []string
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) == 0 || f[0] != "Ip:" {
				continue
			}
			for i := range min(len(names), len(f)) {
				if names[i] == "ReasmFails" {
					n += number(f[i])
				}
			}
			names = f
		}
	}
	if b, err := os.ReadFile("/proc/net/snmp6"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "Ip6ReasmFails" {
				n += number(f[1])
			}
		}
	}
	return n
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}
