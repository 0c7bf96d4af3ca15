//go:build unix

package format

import (
	"context"
	"io"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/penstock-go/penstock/spool/object"
)

// BenchmarkStaging lets the bare encoder, one staging worker and two take turns, since a shared machine changes from minute
// to minute; its metrics are the medians of the ratios of each turn. In CPU time, a busy machine does not matter.
//
//	go test -run - -bench Staging -benchtime 21x ./ship
func BenchmarkStaging(b *testing.B) {
	s := makeSegment(b, textRecords(benchRecords, benchSize), 1<<30)
	_, raw := encodeSegment(b, s, object.Encoding{Codec: "none"})
	bare, err := zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		b.Fatal(err)
	}
	enc, err := NewEncoder(object.Encoding{Format: NDJSON, Codec: "zstd"})
	if err != nil {
		b.Fatal(err)
	}
	stage := func(workers int) func() {
		return func() {
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					if _, err := enc.Encode(context.Background(), io.Discard, s.open(b), nil); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
		}
	}
	encode := func() {
		bare.Reset(io.Discard)
		if _, err := bare.Write(raw); err != nil {
			b.Fatal(err)
		}
		if err := bare.Close(); err != nil {
			b.Fatal(err)
		}
	}
	var wall, cpu, two []float64
	for b.Loop() {
		bareWall, bareCPU := timed(encode)
		oneWall, oneCPU := timed(stage(1))
		twoWall, _ := timed(stage(2))
		wall = append(wall, bareWall/oneWall)
		cpu = append(cpu, bareCPU/oneCPU)
		two = append(two, 2*oneWall/twoWall)
	}
	for name, ratios := range map[string][]float64{"one/bare": wall, "one/bare-by-CPU": cpu, "two/one": two} {
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], name)
	}
	b.ReportMetric(0, "ns/op")
}

// timed returns the seconds a call takes, on the clock and of the process's CPU time.
func timed(f func()) (wall, cpu float64) {
	cpuBefore, begin := cpuSeconds(), time.Now()
	f()
	return time.Since(begin).Seconds(), cpuSeconds() - cpuBefore
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
