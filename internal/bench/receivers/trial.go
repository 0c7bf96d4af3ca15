package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// receiver is a program to measure.
type receiver struct {
	name string
	// start runs the receiver in an empty directory, listening on UDP and TCP.
	start func(dir string) (*running, error)
}

// running is a receiver's process.
type running struct {
	cmd    *exec.Cmd
	udp    string
	tcp    string
	settle time.Duration          // a trial is over once nothing more was stored for this time
	stored func() (uint64, error) // so far; cheap, for polling
	count  func() (uint64, error) // on the disk, after the process has ended
}

// outcome is the result of a trial.
type outcome struct {
	sent, stored uint64
	rate         float64 // at which it was sent
	cpu          float64 // seconds of the receiver
	took         time.Duration
}

// slow is the fraction of the requested rate below which the sender was too slow, not the receiver.
const slow = 0.95

// highest finds the highest rate at which nothing is lost, to 5 %. capped: the sender cannot send faster.
func (b *bench) highest(r *receiver) (rate int, capped bool, err error) {
	lossless := func(rate int) (ok bool, sent float64, err error) {
		for range 2 {
			o, err := b.udp(r, rate)
			if err != nil {
				return false, 0, err
			}
			fmt.Fprintf(os.Stderr, "%-24s %8d/s: sent %d (%.0f/s), stored %d\n", r.name, rate, o.sent, o.rate, o.stored)
			if o.stored > o.sent {
				return false, 0, errors.New("more stored than sent")
			}
			if o.stored == o.sent {
				ok, sent = true, max(sent, o.rate)
			}
			if sent >= slow*float64(rate) {
				break
			}
		}
		return ok, sent, nil
	}
	low, high, bisect := 0, b.lowest, false
	for !bisect || float64(high) > 1.05*float64(low) {
		next := high
		if bisect {
			next = (low + high) / 2
		}
		ok, sent, err := lossless(next)
		switch {
		case err != nil:
			return 0, false, err
		case ok && sent < slow*float64(next):
			return max(low, int(sent)), true, nil
		case ok && bisect:
			low = next
		case ok:
			low, high = next, 2*next
		default:
			if low == 0 { // even the lowest rate loses records
				return 0, false, nil
			}
			high, bisect = next, true
		}
	}
	return low, false, nil
}

// udp runs one trial at a rate.
func (b *bench) udp(r *receiver, rate int) (o outcome, err error) {
	return b.trial(r, func(run *running) (*exec.Cmd, error) {
		return roleCmd("udp", run.udp, strconv.Itoa(rate), b.length.String()), nil
	})
}

// tcp returns MB/s from the first byte sent until the last is stored.
func (b *bench) tcp(r *receiver) (float64, error) {
	o, err := b.trial(r, func(run *running) (*exec.Cmd, error) {
		return roleCmd("tcp", run.tcp, strconv.Itoa(b.tcpMB<<20/lineSize)), nil
	})
	if err == nil && o.stored != o.sent {
		err = fmt.Errorf("%d of %d lines over TCP stored", o.stored, o.sent)
	}
	return float64(o.sent) * lineSize / 1e6 / o.took.Seconds(), err
}

func (b *bench) trial(r *receiver, sender func(*running) (*exec.Cmd, error)) (o outcome, err error) {
	dir, err := os.MkdirTemp(b.dir, "*")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	run, err := r.start(dir)
	if err != nil {
		return o, err
	}
	ended := false
	defer func() {
		if !ended {
			_ = run.cmd.Process.Kill()
			_ = run.cmd.Wait()
		}
	}()
	before, err := cpuOf(run.cmd.Process.Pid)
	if err != nil {
		return o, err
	}
	send, err := sender(run)
	if err != nil {
		return o, err
	}
	begin := time.Now()
	out, err := send.Output()
	if err != nil {
		return o, fmt.Errorf("sender: %w", err)
	}
	var s sent
	if err := json.Unmarshal(out, &s); err != nil {
		return o, fmt.Errorf("sender said %q: %w", out, err)
	}
	o.sent, o.rate = s.Sent, float64(s.Sent)/s.Seconds
	seen, at := uint64(0), time.Now()
	for time.Since(at) < run.settle {
		n, err := run.stored()
		if err != nil {
			return o, err
		}
		if n != seen {
			seen, at = n, time.Now()
			o.took = at.Sub(begin)
		}
		if n >= o.sent {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	after, err := cpuOf(run.cmd.Process.Pid)
	if err != nil {
		return o, err
	}
	o.cpu = after - before
	if err := run.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return o, err
	}
	// A receiver that does not end must not hang the trials of the others.
	late := time.AfterFunc(time.Minute, func() { _ = run.cmd.Process.Kill() })
	defer late.Stop()
	ended = true
	if err := run.cmd.Wait(); err != nil {
		return o, fmt.Errorf("receiver: %w", err)
	}
	o.stored, err = run.count()
	return o, err
}

// cpuOf returns the CPU seconds of all threads of a process: proc_pid_stat(5), in ticks of 10 ms.
func cpuOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may contain anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(err, err2)
}
