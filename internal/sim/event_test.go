package sim

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// Event is one event in a world. It is plain data: the same list of events gives the same life.
type Event struct {
	After time.Duration // simulated time since the previous event
	Host  int           // the host or destination to which it happens
	Kind  Kind
	A, B  int64 // depends on Kind
}

// Kind is the kind of an event.
type Kind string

// What sources do. A records of B bytes each.
const (
	Append  Kind = "append"  // batches by Spool.Append
	Offer   Kind = "offer"   // batches by Spool.Offer, as from UDP
	Octet   Kind = "octet"   // a TCP connection with octet counting, closed at the end
	Newline Kind = "newline" // a TCP connection with newlines, closed at the end
	Reset   Kind = "reset"   // a TCP connection that is reset in the middle
	Flood   Kind = "flood"   // A TCP connections at a time, with B records each, that stay open
)

// What happens to processes. Start's A chooses the options, see optionsOf; nothing happens to a host in the wrong state.
const (
	Start   Kind = "start"
	Stop    Kind = "stop"    // SIGTERM: the spool is kept
	Drain   Kind = "drain"   // the spool is emptied, for as long as the drain's timeout
	ScaleIn Kind = "scalein" // the Auto Scaling group takes the instance away
	Kill    Kind = "kill"    // SIGKILL
	Cut     Kind = "cut"     // power cut; A seeds which of the pending writes survive
	KillAt  Kind = "killat"  // SIGKILL before the B-th step of kind A, see steps
	CutAt   Kind = "cutat"   // a power cut there
)

// What happens to volumes.
const (
	Full     Kind = "full"     // others fill the disk except for A KiB, for B ms
	Failing  Kind = "failing"  // writes and syncs return EIO for B ms; A 1: syncs only
	Refuse   Kind = "refuse"   // a system call is refused from now on: A chooses the call and the error, see refuse
	Damage   Kind = "damage"   // a file at rest is damaged: A chooses the file, B the damage, see damage_test.go
	Copy     Kind = "copy"     // a crash-consistent copy is made and started on host A
	Snapshot Kind = "snapshot" // a crash-consistent copy is put aside
	Restore  Kind = "restore"  // the process is killed, and the volume replaced by the snapshot
	// FileCopy and FileRestore are Copy and Restore by a program that copies files: the file system is another one.
	FileCopy    Kind = "filecopy"
	FileRestore Kind = "filerestore"
	Move        Kind = "move"      // the process is killed, and the volume attached to host A, where a process starts
	Container   Kind = "container" // the process is killed, and another container with a name of its own starts on the volume
	Adopt       Kind = "adopt"     // the host is gone (killed if it runs), A+1 others adopt its volume
)

// What happens at destination Host, for A ms.
const (
	Down      Kind = "down"      // every call fails
	Slow      Kind = "slow"      // every call takes some seconds
	LoseReply Kind = "losereply" // calls take effect, and every second answer is lost
	Silent    Kind = "silent"    // no call is answered before its driver gives up
	Middlebox Kind = "middlebox" // a middlebox answers every call with 200 and a page of HTML
	MoveAway  Kind = "moveaway"  // object number A is moved away until every fault is over
)

// Clock begins another era: all processes end (A 0: killed, 1: stopped), and the clock is reset to its start plus B seconds.
const Clock Kind = "clock"

// String returns the event as a line for parse.
func (e Event) String() string {
	return fmt.Sprintf("%v h%d %s %d %d", e.After, e.Host, e.Kind, e.A, e.B)
}

// show prints a list, one event a line.
func show(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// parse parses the output of show.
func parse(r io.Reader) (events []Event, err error) {
	for s := bufio.NewScanner(r); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		var e Event
		var after string
		if _, err := fmt.Sscanf(line, "%s h%d %s %d %d", &after, &e.Host, &e.Kind, &e.A, &e.B); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		if e.After, err = time.ParseDuration(after); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		events = append(events, e)
	}
	return events, nil
}
