package ingest

import (
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// Successor is a process that takes over from this one: see HandOver.
type Successor struct {
	// Cmd is required, and not started yet. Its Stdin, Stdout and Stderr must be files or nil, since it outlives this process.
	Cmd *exec.Cmd
	// Listeners to hand over, by the names that the successor asks for.
	Listeners map[string]Listener
	// Files are other sockets for the successor, such as that of a status page.
	Files map[string]*os.File
	// Timeout bounds each step: the successor checks its configuration, the listeners stop, the successor opens the
	// sockets; default 30 s.
	Timeout time.Duration
	// Logger gets the steps; nil discards.
	Logger *slog.Logger
}

// handoverEnv holds the descriptor of the successor's end of the socket between the two.
const handoverEnv = "PENSTOCK_HANDOVER"

// succeeding reports that a predecessor waits for this process to call Inherit.
func succeeding() bool { return os.Getenv(handoverEnv) != "" }

// handoverVersion is part of every message. If the versions of the two binaries differ, the hand-over fails before
// anything has changed.
const handoverVersion = 1

// message is one message between the two processes, in the following order. If a message does not come in time, or the
// other end is closed, the other process has failed.
//
//	successor    ready     the names that it takes over; its configuration is valid
//	predecessor  socket    one or several sockets of a listener, and how many of their drops are accounted for
//	predecessor  released  all have been sent, and this process no longer reads from them
//	successor    taken     they are open, and everything is ready to receive
//	predecessor  yours     only after this may the successor read
//	successor    serving   it reads
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

// inheritedSockets are the sockets of an Inheritance under one name.
type inheritedSockets struct {
	files  []*os.File
	shared bool
}
