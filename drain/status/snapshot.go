package status

import (
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool/segment"
)

// Snapshot is the state of a process, as plain data. Its JSON is /status.json. A number that is unknown is null, never 0;
// times of the wall clock are in UTC; durations are in seconds.
type Snapshot struct {
	Version  int       `json:"version"` // 1
	Time     time.Time `json:"time"`
	Instance string    `json:"instance"`
	Build    Build     `json:"build"`
	// Started is when the Watch was made, usually with the process.
	Started time.Time `json:"started"`
	// State is the worst level in Trouble.
	State Level `json:"state"`
	// Trouble lists everything that needs attention, the worst first.
	Trouble []Trouble `json:"trouble"`
	// NotReady is why readiness fails; empty if records of every class can be taken.
	NotReady  string           `json:"not_ready,omitempty"`
	Classes   []Class          `json:"classes"` // by name
	Disks     []Disk           `json:"disks"`
	Drain     Drain            `json:"drain"`
	Adoptions []drain.Adoption `json:"adoptions"`
	// Panics counts the panics in code of the program that the Drainer has called.
	Panics uint64 `json:"panics"`
}

// Level is the severity of a Trouble.
type Level string

const (
	// OK: nothing needs attention.
	OK Level = "ok"
	// Warning: nothing is lost, but an operator should look at it.
	Warning Level = "warning"
	// Error: records are being lost, or cannot be delivered until an operator acts.
	Error Level = "error"
)

// Trouble is something that needs attention.
type Trouble struct {
	Level       Level  `json:"level"`
	Class       string `json:"class,omitempty"`
	Destination string `json:"destination,omitempty"`
	// What is what is wrong.
	What string `json:"what"`
	// Cure is what to do about it. No cure advises anything that could destroy the only copy of a record.
	Cure string `json:"cure"`
}

// Build identifies the program.
type Build struct {
	Program  string `json:"program"`
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, with "+changes" if there were uncommitted changes
	Go       string `json:"go"`
	System   string `json:"system"` // such as linux/amd64
}

// Class is one isolated kind of traffic, from its listeners to its destinations.
type Class struct {
	Class string `json:"class"`
	// Down is why the class does not run; everything else may be missing then.
	Down    string  `json:"down,omitempty"`
	Balance Balance `json:"balance"`
	// Received is the rate at which records arrive, Kept the rate at which they are written to the spool.
	Received Rate `json:"received_rate"`
	Kept     Rate `json:"kept_rate"`
	// LastRecord is when the newest record arrived; null if none did in this process.
	LastRecord *time.Time `json:"last_record"`
	// LostLastHour is the part of Balance.Lost since the beginning of the history, an hour ago at most.
	LostLastHour segment.Losses `json:"lost_last_hour"`
	Spool        Spool          `json:"spool"`
	Listeners    []Listener     `json:"listeners"`
	Destinations []Destination  `json:"destinations"` // by name
	Senders      Senders        `json:"senders"`
}

// Balance is the account of a spool's whole life: received + made = kept + buffered + filtered + lost + unaccounted, in
// records, and kept = delivered + pending + damaged for every destination.
type Balance struct {
	Received    segment.Tally         `json:"received"`
	Made        segment.Tally         `json:"made"`
	Kept        segment.Tally         `json:"kept"`
	Buffered    segment.Tally         `json:"buffered"`
	Filtered    segment.Tally         `json:"filtered"`
	Lost        segment.Losses        `json:"lost"` // by cause; causes that never occurred are omitted
	Damaged     segment.Tally         `json:"damaged"`
	Unaccounted []segment.Unaccounted `json:"unaccounted"`
	// Rewriting is the part of Kept that was written to a file that has since failed, and is being written to another one.
	Rewriting segment.Tally `json:"rewriting"`
}

// Rate is a number of records and their payload bytes per second, null until enough time has passed to measure it.
type Rate struct {
	Records *float64 `json:"records_per_second"`
	Bytes   *float64 `json:"bytes_per_second"`
}

// Spool is the spool of a class.
type Spool struct {
	Spool string `json:"spool"` // its identity
	Epoch uint32 `json:"epoch"`
	Dir   string `json:"dir"`
	// Appended, Written and Durable are the last sequence numbers that were assigned, written, and synced.
	Appended uint64 `json:"appended"`
	Written  uint64 `json:"written"`
	Durable  uint64 `json:"durable"`
	// Segments is the number of sealed segments in the spool; Staged of them are encoded for their destinations.
	Segments int `json:"segments"`
	Staged   int `json:"staged"`
	// Used is how many bytes of the directory count against Quota.
	Used  int64 `json:"used_bytes"`
	Quota int64 `json:"quota_bytes"`
	// Full means that appends wait, or are rejected, because there is no room.
	Full bool `json:"full"`
	// UntilFull is the time until the quota or the disk is used up at the rate of the last minutes; null if the spool is
	// not growing, or the time is not known yet.
	UntilFull *float64 `json:"seconds_until_full"`
	// Err is why appends are refused now.
	Err string `json:"error,omitempty"`
	// Frozen is why delivered segments are not deleted.
	Frozen string `json:"frozen,omitempty"`
	// Damages lists the recorded damage to kept records.
	Damages []Damage `json:"damages"`
	Panics  uint64   `json:"panics"`
	// MemoryUsed is how much of the memory for records that are not on disk yet is in use.
	MemoryUsed  int64   `json:"memory_used_bytes"`
	MemoryQuota int64   `json:"memory_quota_bytes"`
	Append      Latency `json:"append"`
	Sync        Latency `json:"sync"`
}

// Damage is damage to kept records: see spool.Damage.
type Damage struct {
	Segment uint64    `json:"segment"`
	Records uint64    `json:"records"`
	Found   time.Time `json:"found"`
	Why     string    `json:"why"`
	GivenUp bool      `json:"given_up"`
}

// Disk is a file system with spools on it.
type Disk struct {
	Dir     string   `json:"dir"`     // of one of the spools
	Classes []string `json:"classes"` // whose spools are on it
	Total   int64    `json:"total_bytes"`
	Free    int64    `json:"free_bytes"`
	// UntilFull is the time until it is used up at the rate of the last minutes; null if it is not filling.
	UntilFull *float64 `json:"seconds_until_full"`
	// Err is why its size is unknown.
	Err string `json:"error,omitempty"`
}

// Drain is the state of the end of the process.
type Drain struct {
	// Phase is "run" until the end begins.
	Phase    string        `json:"phase"`
	Intent   drain.Intent  `json:"intent,omitempty"`
	Trigger  string        `json:"trigger,omitempty"`
	Started  *time.Time    `json:"started"`
	Deadline *time.Time    `json:"deadline"`
	Idle     float64       `json:"idle_seconds"`
	Phases   []drain.Phase `json:"phases"` // those that are over
	// Outcome is of the latest report, empty before the first.
	Outcome  drain.Outcome `json:"outcome,omitempty"`
	Retained bool          `json:"retained"`
}
