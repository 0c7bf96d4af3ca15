//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// routedKind is the treatment of message number i: it is dropped, routed to one spool or to both, or split into one record for
// each.
func routedKind(i int) string { return []string{"drop", "a", "b", "ab", "cut", "secret"}[i%6] }

// routed returns the records of message number i in both spools.
func routed(i int) (a, b string) {
	n := strconv.Itoa(i)
	switch routedKind(i) {
	case "a":
		return "a " + n, ""
	case "b":
		return "", "b " + n
	case "ab":
		return "ab " + n, "ab " + n
	case "cut":
		return "a first half of " + n, "b second half of " + n
	case "secret":
		return "a ***** " + n, ""
	}
	return "", ""
}

// routeTransform drops, splits and redacts.
func routeTransform(r segment.Record, out []segment.Record) []segment.Record {
	kind, n, _ := bytes.Cut(r.Data, []byte(" "))
	switch string(kind) {
	case "drop":
		return out
	case "cut":
		first, second := r, r
		first.Data = append([]byte("a first half of "), n...)
		second.Data = append([]byte("b second half of "), n...)
		return append(out, first, second)
	case "secret":
		r.Data = append([]byte("a ***** "), n...)
	}
	return append(out, r)
}

func routeChoose(r segment.Record, to []string) []string {
	kind, _, _ := bytes.Cut(r.Data, []byte(" "))
	for _, c := range kind {
		if c == 'a' {
			to = append(to, "a")
		} else {
			to = append(to, "b")
		}
	}
	return to
}

// routeChild is the program that is killed: a RELP listener before a Transform, a Route and two spools. Or it drains them.
func routeChild(mode string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir := os.Getenv("PENSTOCK_DIR")
	var shippers sync.WaitGroup
	var spools []*spool.Spool
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	d, err := drain.New(&drain.Options{Dir: dir, Timeout: 5 * time.Minute, Logger: log})
	if err != nil {
		return err
	}
	sinks := map[string]ingest.Sink{}
	for _, class := range []string{"a", "b"} {
		dest, err := open.Destination(ctx, "file://"+dir+"/out", nil)
		if err != nil {
			return err
		}
		sp, err := spool.Open(dir+"/"+class, &spool.Options{
			Class: class, Destinations: []string{"out"}, SegmentBytes: 1 << 20, SegmentAge: 300 * time.Millisecond, Logger: log,
		})
		if err != nil {
			return err
		}
		sinks[class] = sp.Intake()
		sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"out": dest}})
		if err != nil {
			return err
		}
		if err := d.Add(drain.Class{Shipper: sh}); err != nil {
			return err
		}
		spools = append(spools, sp)
		if mode == "serve" {
			shippers.Go(func() { sh.Run(ctx) })
		}
	}
	if mode == "drain" {
		r, err := d.Drain(ctx, "test")
		if err != nil || r.ExitCode() != 0 {
			_ = r.WriteSummary(os.Stderr)
			return fmt.Errorf("drain: exit code %d: %w", r.ExitCode(), err)
		}
		return json.NewEncoder(os.Stdout).Encode(r.Classes)
	}
	route, err := ingest.NewRoute(&ingest.RouteOptions{Sinks: sinks, Default: "a", Choose: routeChoose, Logger: log})
	if err != nil {
		return err
	}
	clean, err := ingest.NewTransform(route, routeTransform, &ingest.TransformOptions{Logger: log})
	if err != nil {
		return err
	}
	l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: relp.Framing, Logger: log})
	if err != nil {
		return err
	}
	go func() { // the last of these programs ends in good order
		io.Copy(io.Discard, os.Stdin)
		l.Shutdown(ctx)
	}()
	fmt.Println(l.Addr())
	if err := l.Serve(clean); err != ingest.ErrServerClosed {
		return err
	}
	cancel()
	shippers.Wait()
	return errors.Join(spools[0].Close(), spools[1].Close())
}

// relpSender sends numbered messages over RELP until all are acknowledged, whatever becomes of its connections.
type relpSender struct {
	n     int
	sent  []uint8 // how often each message was sent
	acked []bool
	done  int
}

// run sends what is not acknowledged over one connection, and stops when it ends. f is called after each acknowledgement.
func (s *relpSender) run(addr string, f func()) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	offers := "relp_version=0\nrelp_software=test\ncommands=syslog"
	fmt.Fprintf(c, "1 open %d %s\n", len(offers), offers)
	window := make(chan int, 600)
	go func() {
		defer close(window)
		w := bufio.NewWriterSize(c, 16<<10)
		txnr := 1
		for i := range s.n {
			if s.acked[i] {
				continue
			}
			txnr++
			m := routedKind(i) + " " + strconv.Itoa(i)
			fmt.Fprintf(w, "%d syslog %d %s\n", txnr, len(m), m)
			select {
			case window <- i:
			default: // the window is full: what is in the buffer has to go first
				if w.Flush() != nil {
					return
				}
				window <- i
			}
			s.sent[i]++
		}
		w.Flush()
	}()
	defer func() {
		c.Close()
		for range window {
		}
	}()
	answers := bufio.NewReader(c)
	for s.done < s.n {
		line, err := answers.ReadString('\n')
		if err != nil {
			return
		}
		if !strings.HasSuffix(line, " rsp 6 200 OK\n") {
			continue // of the session
		}
		s.acked[<-window] = true
		s.done++
		f()
	}
}

// TestRouteKilled sends records through a Transform and a Route into two spools, over RELP, and kills the program again and
// again. Every acknowledged record is in the right spools, twice only if it was sent twice; the balances include the filtered
// and made records, the drain exits with 0, and the audit says complete.
func TestRouteKilled(t *testing.T) {
	records, kills := 30_000, 6
	if v := os.Getenv("PENSTOCK_ROUTED"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		records, kills = n, 40
	}
	dir := t.TempDir()
	child := func(mode string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PENSTOCK_APPENDER=route "+mode, "PENSTOCK_DIR="+dir)
		return cmd
	}
	s := &relpSender{n: records, sent: make([]uint8, records), acked: make([]bool, records)}
	for killed := 0; s.done < s.n; killed++ {
		cmd := child("serve")
		var stderr testserver.Log
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("the program ended by itself: %s", tail(stderr.String(), 30))
		}
		kill := s.n + 1
		if killed < kills {
			kill = s.done + 1 + rand.IntN(2*records/(kills+1))
		}
		s.run(strings.TrimSpace(addr), func() {
			if s.done == kill {
				_ = cmd.Process.Kill()
			}
		})
		if in.Close(); s.done < s.n {
			_ = cmd.Process.Kill()
		}
		if err := cmd.Wait(); err != nil && s.done == s.n && kill > s.n { // a kill may come with the last acknowledgement
			t.Fatalf("the last program: %v\n%s", err, tail(stderr.String(), 30))
		}
	}

	var stderr bytes.Buffer
	drainer := child("drain")
	drainer.Stderr = &stderr
	out, err := drainer.Output()
	if err != nil {
		t.Fatalf("drain: %v\n%s", err, tail(stderr.String(), 40))
	}
	var classes map[string]drain.ClassReport
	if err := json.Unmarshal(out, &classes); err != nil {
		t.Fatal(err)
	}
	for name, c := range classes {
		l := segment.Ledger{Received: c.Received, Made: c.Made, Kept: c.Kept, Filtered: c.Filtered, Lost: c.Lost, Unaccounted: c.Unaccounted}
		if in, out := l.Entered().Records, l.Settled().Records; in != out || c.Err != "" || c.Lost != (segment.Losses{}) || (c.Filtered.Records == 0) != (name == "b") {
			t.Errorf("%s: %d in, %d accounted for; %+v", name, in, out, c)
		}
		t.Logf("%s: received %d, kept %d, filtered %d, %d kills", name, c.Received.Records, c.Kept.Records, c.Filtered.Records, len(c.Unaccounted))
	}
	checkRouted(t, "file://"+dir+"/out", s)
}

// checkRouted compares what a destination has with what was sent, and lets the auditor judge it.
func checkRouted(t *testing.T, at string, s *relpSender) {
	ctx := t.Context()
	d, err := open.Destination(ctx, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	twice := 0
	for class, of := range map[string]func(int) string{
		"a": func(i int) string { a, _ := routed(i); return a },
		"b": func(i int) string { _, b := routed(i); return b },
	} {
		got := make([]uint8, s.n)
		foreign := 0
		if err := open.Records(ctx, d, &open.RecordsOptions{Class: class}, func(_ uint64, rec segment.Record) error {
			data := string(rec.Data)
			if i, err := strconv.Atoi(data[strings.LastIndexByte(data, ' ')+1:]); err == nil && i < s.n && of(i) == data {
				got[i]++
			} else {
				foreign++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		lost, doubled := 0, 0
		for i, n := range got {
			switch {
			case n == 0 && of(i) != "":
				lost++
			case n > s.sent[i]:
				doubled++
			case n > 1:
				twice++
			}
		}
		if lost+doubled+foreign > 0 {
			t.Errorf("%s: %d acknowledged records lost, %d more often than they were sent, %d foreign", class, lost, doubled, foreign)
		}
	}
	t.Logf("%d records are there twice, because they were sent again", twice)
	res, err := audit.Run(ctx, &audit.Options{Places: []audit.Place{{Name: "out", Destination: d}}})
	if err != nil || res.Verdict != audit.Complete || len(res.Chains) != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
}
