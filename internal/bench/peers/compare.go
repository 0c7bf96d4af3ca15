package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/internal/bench/result"
)

// score is the result of a contestant over all its turns.
type score struct {
	name      string
	c         contestant
	rates     []float64 // bytes/s of each turn
	ratios    []float64 // of each turn, relative to the yardstick's turn just before it
	cpu       float64   // seconds
	bytes     int64
	records   int64
	allocs    uint64
	writes    int64 // calls of write(2) and the like
	syncs     syncTimes
	took      time.Duration // all turns
	latencies []time.Duration
}

// compare lets all contestants take turns under one load, and prints a table. The first of the field is the yardstick.
func (r *race) compare(f field, s shape) (err error) {
	var scores []*score
	top, err := os.MkdirTemp(r.dir, "peers-*")
	if err != nil {
		return err
	}
	defer func() {
		for _, sc := range scores {
			err = errors.Join(err, sc.c.Close())
		}
		err = errors.Join(err, os.RemoveAll(top))
	}()
	for i, e := range f.entrants {
		if i > 0 && !r.only.MatchString(e.name) {
			continue
		}
		d, err := os.MkdirTemp(top, "*")
		if err != nil {
			return err
		}
		c, err := e.open(d, s)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		scores = append(scores, &score{name: e.name, c: c})
	}
	if len(scores) < 2 {
		return nil // -only excludes every contestant of this field
	}
	// A contestant that recycles files needs some to recycle before the measurement begins.
	big := makeBatch(warmBatch, s.size)
	for _, sc := range scores {
		for n := 0; n < r.warm<<20; n += warmBatch * s.size {
			if err := sc.c.Append(big); err != nil {
				return fmt.Errorf("%s: %w", sc.name, err)
			}
		}
	}
	batch := makeBatch(s.batch, s.size)
	yard, others := scores[0], slices.Clone(scores[1:])
	for range r.rounds {
		rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		for _, sc := range others {
			if err := errors.Join(yard.turn(s, batch, r.burst), sc.turn(s, batch, r.burst)); err != nil {
				return fmt.Errorf("%s: %w", sc.name, err)
			}
			sc.ratios = append(sc.ratios, sc.rates[len(sc.rates)-1]/yard.rates[len(yard.rates)-1])
		}
	}
	return r.report(f.name, s, scores)
}

// warmBatch is the number of records of an append before the measurement.
const warmBatch = 2048

// segmentBytes is the size of every contestant's files.
const segmentBytes = 64 << 20

func makeBatch(n, size int) [][]byte {
	batch := make([][]byte, n)
	for i := range batch {
		batch[i] = make([]byte, size)
		for j := range batch[i] {
			batch[i][j] = byte('a' + (i*7+j)%26)
		}
	}
	return batch
}

// turn is one burst.
func (sc *score) turn(s shape, batch [][]byte, burst time.Duration) error {
	writers, times := s.writers, 1
	if w, ok := sc.c.(whole); ok {
		writers, times = 1, w.times
	}
	latencies := make([][]time.Duration, writers)
	errs := make([]error, writers)
	for i := range latencies {
		latencies[i] = make([]time.Duration, 0, 1<<14)
	}
	var wg sync.WaitGroup
	syncs := syncsOf(sc.c)
	cpu, allocs, writes := cpuSeconds(), allocations(), writeCalls()
	begin := time.Now()
	for i := range writers {
		wg.Go(func() {
			for at := begin; at.Sub(begin) < burst; {
				if errs[i] = sc.c.Append(batch); errs[i] != nil {
					return
				}
				now := time.Now()
				latencies[i] = append(latencies[i], now.Sub(at))
				at = now
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	sc.cpu += cpuSeconds() - cpu
	sc.allocs += allocations() - allocs
	sc.writes += writeCalls() - writes
	sc.syncs.add(syncs, syncsOf(sc.c))
	sc.took += took
	var n int64
	for _, l := range latencies {
		n += int64(len(l) * times)
		sc.latencies = append(sc.latencies, l...)
	}
	sc.bytes += n * int64(s.batch*s.size)
	sc.records += n * int64(s.batch)
	sc.rates = append(sc.rates, float64(n*int64(s.batch*s.size))/took.Seconds())
	return errors.Join(errs...)
}

func (r *race) report(field string, s shape, scores []*score) error {
	scores[0].ratios = []float64{1}
	for _, sc := range scores {
		slices.Sort(sc.rates)
		slices.Sort(sc.ratios)
		slices.Sort(sc.latencies)
	}
	yardP50 := quantile(scores[0].latencies, 0.5)
	t := result.Table{
		Title: fmt.Sprintf("Appends to %s: %d writer(s), %d records of %d B an append, %d turns", field, s.writers, s.batch, s.size, r.rounds),
		Columns: []result.Column{
			{Name: "MB/s"},
			{Name: "÷ " + scores[0].name, Bars: true},
			{Name: "quartiles"},
			{Name: "p50"},
			{Name: "÷"},
			{Name: "p99"},
			{Name: "CPU s/GB"},
			{Name: "allocs/record"},
			{Name: "appends/write"},
		},
	}
	t.Columns = append(t.Columns, syncColumns...)
	for _, sc := range scores {
		p50, p99 := quantile(sc.latencies, 0.5), quantile(sc.latencies, 0.99)
		cells := []result.Cell{
			result.Num("%.0f", quantile(sc.rates, 0.5)/1e6),
			result.Num("%.2f", quantile(sc.ratios, 0.5)),
			{Text: fmt.Sprintf("%.2f–%.2f", quantile(sc.ratios, 0.25), quantile(sc.ratios, 0.75))},
			{Text: p50.Round(time.Microsecond).String(), Number: p50.Seconds()},
			result.Num("%.2f", float64(p50)/float64(yardP50)),
			{Text: p99.Round(time.Microsecond).String(), Number: p99.Seconds()},
			result.Num("%.2f", sc.cpu/float64(sc.bytes)*1e9),
			result.Num("%.3f", float64(sc.allocs)/float64(sc.records)),
			result.Num("%.1f", float64(sc.records)/float64(s.batch)/float64(max(1, sc.writes))),
		}
		t.Rows = append(t.Rows, result.Row{Name: sc.name, Cells: append(cells, sc.syncCells(s.batch)...)})
	}
	return r.out.Write(t)
}

func quantile[T any](sorted []T, q float64) T { return sorted[int(q*float64(len(sorted)-1))] }

func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func allocations() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// writeCalls returns how many writes this process has made; proc_pid_io(5).
func writeCalls() (n int64) {
	b, _ := os.ReadFile("/proc/self/io")
	if _, rest, ok := strings.Cut(string(b), "syscw: "); ok {
		fmt.Sscan(rest, &n)
	}
	return n
}
