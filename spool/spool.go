package spool

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// Spool is a crash-safe log of records. All methods may be called from any goroutine.
//
// Three locks guard it, taken in this order where more than one is held: a destination's (files of its chain), mu
// (everything that the doors and the committer touch), and the catalogue's (sealed segments). No file is touched under
// the last two. The witness and the record of damages have locks of their own, which are taken before mu, and under which
// only their own small files are touched.
type Spool struct {
	source *source // where an adopted spool comes from, else nil: see Adopt

	dir  string
	fs   vfs.FS
	opts Options
	log  *slog.Logger
	lock io.Closer
	idx  index.Index
	id   *identity

	witness witness
	damages damages

	cat        catalogue
	dests      map[string]*destination // fixed after Open
	stages     stages
	reads      refusedReads
	unreserved sync.Once  // told
	tight      sync.Mutex // held by who stages with the quota used up
	// pruning is held while segments are deleted, and taken before mu. It guards deleted.
	pruning sync.Mutex
	deleted deletion
	litter  litter
	inodes  *vfs.Reserve

	mu     sync.Mutex
	closed bool
	shut   bool // the doors are
	tail   queue
	active *active // the segment being written, nil if the next block begins one
	spare  *spare  // the segment prepared to follow it
	number uint64  // the last segment number given

	// Marks in the sequence numbers: taken ≥ written ≥ durable.
	taken   uint64
	found   uint64 // taken, when the spool was opened
	written uint64
	durable uint64
	// The same in the log as it is being written; after a failure place goes back to placed.
	place  place // at tail.written
	placed place // at tail.synced
	// sealedEnd is the end of the last sealed segment.
	sealedEnd place

	ledger       segment.Ledger // Kept is what was written at least once
	ledgerDirty  bool           // since the last one in the log
	ledgerTime   time.Time      // of the last one in the log
	lastEnd      segment.Ledger // the ledger at the end of the segment before the active one
	blocked      blockedTimes
	opened       time.Time
	begun        time.Time // when the latest segment began, or may begin at the earliest
	quota        quota
	lastCalls    uint64 // how often LastCall came
	failed       error  // why nothing can be written now
	noSpace      bool   // the reason is a full disk
	retryAt      time.Time
	writer       role // who writes the tail to the log
	syncer       role // who makes it durable
	group        int  // how many, beside who did it, the last sync served
	room         waitList
	urgent       bool // somebody waits for memory
	full         bool // somebody found no room since there was more
	fullness     fullness
	down         map[string]time.Time // see SetDown
	overdraft    overdraft
	noted        lifeMark // in the directory
	handed       int64    // what a successor may hold in memory: see HandOver
	oversize     int      // batches above the memory budget that wait for an empty queue: until they are in, nothing else is
	idle         []*waiter
	spans        []span
	pendingSince time.Time // since when records wait that nobody but the flusher will write
	dirtySince   time.Time // since when written bytes wait for their sync
	unsynced     int64     // bytes written since the last sync

	rolled   []*rolled // ended segments that wait for their footer
	sealing  waitList
	holds    int
	frozen   string        // why nothing is deleted until Thaw; "" for not at all
	kick     chan struct{} // wakes the flusher
	syncKick chan struct{} // wakes the background sync
	work     chan struct{} // wakes the keeper
	stop     chan struct{}
	running  sync.WaitGroup // the spool's own goroutines
	calls    sync.WaitGroup // calls that use files outside of the roles
	life     context.Context
	end      context.CancelFunc // ends calls that are under way

	naming chan struct{} // one change of spool.json at a time; all of it but Destinations is fixed once the spool is open

	closeOnce sync.Once
	closeErr  error
}

// Intake is the same spool for a listener, which counts received records itself and reports them by Account.
func (s *Spool) Intake() *Intake { return &Intake{s} }

// Intake is what listeners write to: see Spool.Intake.
type Intake struct{ s *Spool }
