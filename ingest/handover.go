package ingest

import (
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// Successor is a process that is to take over: see HandOver.
type Successor struct {
	// Cmd is not started yet. Its Stdin, Stdout and Stderr are files or nil, since it outlives this process.
	Cmd *exec.Cmd
	// Listeners that are to go over, by names that the successor knows them by.
	Listeners map[string]Listener
	// Files are other sockets for it, such as that of a status page.
	Files map[string]*os.File
	// Timeout bounds each step: that the successor checks its configuration, that the listeners stop, that it opens what
	// it takes over; default 30 s.
	Timeout time.Duration
	// Logger gets the steps; nil discards.
	Logger *slog.Logger
}

// handoverEnv holds the descriptor of the successor's end of the socket between the two.
const handoverEnv = "PENSTOCK_HANDOVER"

// succeeding reports that a predecessor waits for this process, which has not called Inherit yet.
func succeeding() bool { return os.Getenv(handoverEnv) != "" }

// handoverVersion is said by both. A binary that does not understand the other ends before anything has changed.
const handoverVersion = 1

// message is one of those between the two processes, in this order. Where somebody's next one does not come in time, or
// his end is closed, the other knows that he has failed, and what that leaves to do.
//
//	successor    ready     what it takes over; its configuration is good
//	predecessor  socket    one or several of a listener, with what is accounted for of their drops
//	predecessor  released  all have been sent, and nobody reads from them
//	successor    taken     they are open, and everything is ready to receive
//	predecessor  yours     the only one after which the successor may read
//	successor    serving   it does
type message struct {
	Version int      `json:"version"`
	Step    string   `json:"step"`
	Names   []string `json:"names,omitempty"` // ready

	Name   string            `json:"name,omitempty"` // socket
	Shared bool              `json:"shared,omitempty"`
	Drops  map[uint64]uint64 `json:"drops,omitempty"`
}

const (
	stepReady    = "ready"
	stepSocket   = "socket"
	stepReleased = "released"
	stepTaken    = "taken"
	stepYours    = "yours"
	stepServing  = "serving"
)

// inheritedSockets is one name of an Inheritance.
type inheritedSockets struct {
	files  []*os.File
	shared bool
}
