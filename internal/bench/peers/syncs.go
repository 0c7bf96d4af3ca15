package main

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock-go/penstock/internal/bench/result"
)

// syncTimes counts calls of fdatasync, and how long they took.
type syncTimes struct {
	calls int64
	took  time.Duration
}

// add adds the difference between two readings.
func (t *syncTimes) add(from, to syncTimes) {
	t.calls += to.calls - from.calls
	t.took += to.took - from.took
}

// synced is a contestant whose syncs are counted.
type synced interface{ syncs() syncTimes }

// syncsOf returns the syncs of a contestant; zero if they are not counted.
func syncsOf(c contestant) syncTimes {
	if s, ok := c.(synced); ok {
		return s.syncs()
	}
	return syncTimes{}
}

// syncClock counts the syncs of successive files.
type syncClock struct{ calls, took atomic.Int64 }

func (c *syncClock) syncs() syncTimes {
	return syncTimes{c.calls.Load(), time.Duration(c.took.Load())}
}

func (c *syncClock) time(sync func() error) error {
	begin := time.Now()
	err := sync()
	c.took.Add(int64(time.Since(begin)))
	c.calls.Add(1)
	return err
}

// clockedFile is a file of pebble whose syncs are counted.
type clockedFile struct {
	vfs.File
	clock *syncClock
}

func (f clockedFile) Sync() error { return f.clock.time(f.File.Sync) }

// syncColumns show where the time is spent: in syncs, or between the end of one and the start of the next.
var syncColumns = []result.Column{{Name: "appends/sync"}, {Name: "sync"}, {Name: "between"}}

// syncCells are the cells of syncColumns.
func (sc *score) syncCells(batch int) []result.Cell {
	n := sc.syncs.calls
	if n == 0 {
		return []result.Cell{{Text: "–"}, {Text: "–"}, {Text: "–"}}
	}
	mean := func(total time.Duration) result.Cell {
		d := total / time.Duration(n)
		return result.Cell{Text: d.Round(time.Microsecond).String(), Number: d.Seconds()}
	}
	return []result.Cell{
		result.Num("%.1f", float64(sc.records)/float64(batch)/float64(n)),
		mean(sc.syncs.took), mean(sc.took - sc.syncs.took),
	}
}
