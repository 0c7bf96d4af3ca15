package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"text/tabwriter"
	"time"
)

// bench is the settings of a run.
type bench struct {
	dir     string
	length  time.Duration
	cpuRate int
	lowest  int
	tcpMB   int
	only    *regexp.Regexp
	rounds  int
}

func main() {
	if role := os.Getenv(roleEnv); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		return
	}
	var b bench
	flag.StringVar(&b.dir, "dir", ".", "on the disk to store to")
	flag.DurationVar(&b.length, "length", 5*time.Second, "of a trial's sending")
	flag.IntVar(&b.lowest, "lowest", 25_000, "datagrams per second to begin with")
	flag.IntVar(&b.cpuRate, "cpu-rate", 200_000, "datagrams per second at which CPU is compared")
	flag.IntVar(&b.tcpMB, "tcp", 512, "megabytes sent over TCP")
	flag.IntVar(&b.rounds, "rounds", 5, "turns of the comparison with the raw socket; 0 leaves it out")
	only := flag.String("only", "", "regular expression of receivers; not for the raw socket")
	flag.Parse()
	var err error
	if b.only, err = regexp.Compile(*only); err == nil {
		err = b.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "receivers:", err)
		os.Exit(1)
	}
}

func (b *bench) run() error {
	top, err := os.MkdirTemp(b.dir, "receivers-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	b.dir = top
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	if b.rounds > 0 {
		if err := b.againstRaw(w); err != nil {
			return err
		}
		fmt.Println()
	}
	all, err := b.receivers()
	if err != nil {
		return err
	}
	if max, _ := os.ReadFile("/proc/sys/net/core/rmem_max"); len(max) < len("67108864\n") {
		fmt.Fprintf(os.Stderr, "net.core.rmem_max is %s: syslog-ng gets no more for its receive buffers\n", bytes.TrimSpace(max))
	}
	fmt.Fprintf(w, "\tlossless/s\tCPU s/M at %d/s\tstored there\tTCP to disk MB/s\t\n", b.cpuRate)
	for _, r := range all {
		highest, capped, err := b.highest(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		more := ""
		if capped {
			more = "≥ "
		}
		at, err := b.udp(r, b.cpuRate)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		speed, err := b.tcp(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		fmt.Fprintf(w, "%s\t%s%d\t%.2f\t%.2f %%\t%.0f\t\n", r.name, more, highest,
			at.cpu/float64(at.stored)*1e6, 100*float64(at.stored)/float64(at.sent), speed)
	}
	return w.Flush()
}
