package udprelay

import (
	"maps"
	"os"
	"strconv"
	"strings"
	"time"
)

// counting makes an account of the table's counters. The kernel reads them out one by one while datagrams pass, "in" first. So
// "in" is a little older than the others, and what is missing in the others, compared with it, is no more than what was lost
// plus what is on its way.
type counting struct {
	now  map[string]uint64
	base Account // of tables that are gone
	// lost is what certainly never came out.
	lost   uint64
	recent []reading

	unfinished uint64 // of the kernel, when counting began
}

// reading is how much was missing at a time; negative if the others were that much newer.
type reading struct {
	at      time.Time
	missing int64
}

// lasting is for how long a difference must last to count as loss. The kernel itself takes microseconds from the one counter to
// the other; a rule of another table can hand a datagram to a program that holds it for longer (NFQUEUE).
const lasting = 4 * time.Second

func newCounting() counting {
	return counting{now: map[string]uint64{}, base: Account{Out: nil, Dropped: map[Cause]uint64{}}, unfinished: unfinished()}
}

// note takes over what the counters say. Another program may have set them to zero, or removed the table before it was made again: then
// the account goes on from what they said before.
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

// missing is how much has come in, by the counters, and neither gone out nor been dropped.
func (c *counting) missing() int64 {
	missing := int64(c.now[inCounter]) - int64(c.now[noTargetCounter])
	for name, n := range c.now {
		if _, ok := targetOf(name); ok {
			missing -= int64(n)
		}
	}
	return missing
}

// settle takes everything that is missing for lost: nothing comes in any more.
func (c *counting) settle() { c.lost = uint64(max(0, c.missing())) }

// restart begins with new counters, and keeps what the former ones said.
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
	// What has come out had come in.
	a.In = max(a.In, sum)
	lost := min(c.lost, a.In-sum)
	a.Passing = a.In - sum - lost
	a.Dropped[NoTarget] += c.now[noTargetCounter]
	a.Dropped[Unforwarded] += lost
	a.In += c.base.In
	a.Unfinished = max(unfinished(), c.unfinished) - c.unfinished // it may be unknown at times
	return a
}

// unfinished reads how often the kernel gave a datagram up of which fragments were missing. It is 0 where that is unknown.
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
