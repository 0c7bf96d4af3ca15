package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/penstock-go/penstock/internal/bench/result"
)

// bench holds the settings of a run.
type bench struct {
	dir     string
	length  time.Duration
	cpuRate int
	lowest  int
	tcpMB   int
	only    *regexp.Regexp
	rounds  int
	search  bool
	out     *result.Writer
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
	flag.BoolVar(&b.search, "search", true, "look for the highest rate without loss")
	asJSON := flag.Bool("json", false, "print tables as JSON")
	only := flag.String("only", "", "regular expression of receivers; not for the raw socket")
	flag.Parse()
	b.out = result.NewWriter(os.Stdout, *asJSON)
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
	if b.rounds > 0 {
		if err := b.againstRaw(); err != nil {
			return err
		}
	}
	all, err := b.receivers()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("-only %q matches nobody", b.only)
	}
	if most, _ := os.ReadFile("/proc/sys/net/core/rmem_max"); len(most) < len("67108864\n") {
		fmt.Fprintf(os.Stderr, "net.core.rmem_max is %s: syslog-ng gets no more for its receive buffers\n", bytes.TrimSpace(most))
	}
	t := result.Table{Title: "From the socket to the disk", Columns: []result.Column{
		{Name: "lossless/s", Bars: true},
		{Name: fmt.Sprintf("CPU s/M at %d/s", b.cpuRate)},
		{Name: "stored there"},
		{Name: "TCP to disk MB/s", Bars: true},
	}}
	for _, r := range all {
		row, err := b.measure(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		t.Rows = append(t.Rows, row)
	}
	return b.out.Write(t)
}

// measure returns a receiver's row of the table.
func (b *bench) measure(r *receiver) (row result.Row, err error) {
	lossless := result.Cell{Text: "-"}
	if b.search {
		highest, capped, err := b.highest(r)
		if err != nil {
			return row, err
		}
		if lossless = result.Num("%.0f", float64(highest)); capped {
			lossless.Text = "≥ " + lossless.Text
		}
	}
	at, err := b.udp(r, b.cpuRate)
	if err != nil {
		return row, err
	}
	speed, err := b.tcp(r)
	return result.Row{Name: r.name, Cells: []result.Cell{
		lossless,
		result.Num("%.2f", at.cpu/float64(at.stored)*1e6), result.Num("%.2f %%", 100*float64(at.stored)/float64(at.sent)), result.Num("%.0f", speed),
	}}, err
}
