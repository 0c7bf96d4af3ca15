package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/bench/result"
	"github.com/penstock-go/penstock/spool"
)

// contestant is a log. Several goroutines may call Append. It returns once the batch is on stable storage, unless the name of
// the contestant says otherwise.
type contestant interface {
	Append(batch [][]byte) error
	io.Closer
}

// shape is a load.
type shape struct {
	writers int
	batch   int // records
	size    int // bytes of a record
}

type entrant struct {
	name string
	open func(dir string, s shape) (contestant, error)
}

// durable lists the contestants whose appends are on stable storage when they return, the yardstick first.
var durable = []entrant{
	{"raw", newRaw(true)},
	{"raw, one piece", newWhole},
	{"penstock", newOurs(spool.SyncAlways)},
	{"pebble record", newPebble(false)},
	{"pebble, whole batch", newPebble(true)},
	{"etcd wal", newEtcd},
	{"raft-wal", newRaftWAL},
	{"prometheus wlog", newPrometheus},
	{"tidwall wal", newTidwall},
}

// written lists the contestants whose appends are in the page cache when they return: they survive the process, not a power
// cut.
var written = []entrant{
	{"raw write", newRaw(false)},
	{"penstock, interval", newOurs(spool.SyncInterval)},
	{"penstock, none", newOurs(spool.SyncNone)},
}

// field is a group of contestants; its name says where appends are when they return.
type field struct {
	name     string
	entrants []entrant
}

// race holds the settings of a run.
type race struct {
	rounds int
	burst  time.Duration
	only   *regexp.Regexp
	dir    string
	warm   int // MiB
	out    *result.Writer
}

func main() {
	var r race
	flag.IntVar(&r.rounds, "rounds", 31, "how often each takes its turn")
	flag.DurationVar(&r.burst, "burst", 100*time.Millisecond, "length of a turn")
	flag.StringVar(&r.dir, "dir", ".", "on the disk to measure")
	only := flag.String("only", "", "regular expression of contestants, beside the yardstick")
	writers := flag.String("writers", "1,8,32", "numbers of writers")
	sizes := flag.String("sizes", "512,256,1400", "record sizes in bytes")
	batch := flag.Int("batch", 64, "records in an append")
	flag.IntVar(&r.warm, "warm", 4*segmentBytes>>20, "MiB that each writes before its turns: what recycles files needs that")
	asJSON := flag.Bool("json", false, "print tables as JSON")
	profile := flag.String("cpuprofile", "", "file for a CPU profile of everything")
	flag.Parse()
	r.out = result.NewWriter(os.Stdout, *asJSON)
	err := profiled(*profile, func() (err error) {
		if r.only, err = regexp.Compile(*only); err != nil {
			return err
		}
		return r.run(*writers, *sizes, *batch)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	p, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(p); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, p.Close())
}

func (r *race) run(writers, sizes string, batch int) error {
	if r.rounds < 1 || r.warm < 0 {
		return errors.New("-rounds is at least 1, -warm not negative")
	}
	if all := slices.Concat(durable[1:], written[1:]); !slices.ContainsFunc(all, func(e entrant) bool { return r.only.MatchString(e.name) }) {
		return fmt.Errorf("-only %q matches nobody of %s", r.only, names(all))
	}
	for _, f := range []field{{"stable storage", durable}, {"the kernel", written}} {
		for _, size := range strings.Split(sizes, ",") {
			for _, w := range strings.Split(writers, ",") {
				s := shape{batch: batch}
				var err error
				if s.size, err = strconv.Atoi(size); err == nil {
					s.writers, err = strconv.Atoi(w)
				}
				if err == nil {
					err = r.compare(f, s)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	read := result.Table{Title: "Reading back a sealed segment, every record checked", Columns: []result.Column{{Name: "GB/s"}}}
	for _, size := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		rate, err := r.readBack(n)
		if err != nil {
			return err
		}
		read.Rows = append(read.Rows, result.Row{Name: size + " B records", Cells: []result.Cell{result.Num("%.2f", rate/1e9)}})
	}
	return r.out.Write(read)
}

func names(all []entrant) string {
	var s []string
	for _, e := range all {
		s = append(s, strconv.Quote(e.name))
	}
	return strings.Join(s, ", ")
}
