package audit

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// Verdict is the judgement on a chain, an hour, or the whole audit.
type Verdict string

// The verdicts, from the best to the worst.
const (
	// Complete: final, nothing missing, nothing altered.
	Complete Verdict = "complete"
	// Closed: like Complete, except that an operator has closed a spool (see Close). Records that it kept after its chain's end are
	// lost, and their number is unknown.
	Closed Verdict = "closed"
	// Owed: nothing is wrong, but more records will come, or may come.
	Owed Verdict = "owed"
	// Damaged: something that was confirmed is missing or altered.
	Damaged Verdict = "damaged"
)

var verdicts = []Verdict{Complete, Closed, Owed, Damaged}

// rank orders verdicts from the best to the worst.
func (v Verdict) rank() int { return slices.Index(verdicts, v) }

// isGood reports whether no more records are expected.
func (v Verdict) isGood() bool { return v == Complete || v == Closed }

func (v Verdict) worse(o Verdict) Verdict { return verdicts[max(v.rank(), o.rank())] }

// Result is what an audit found.
type Result struct {
	Time    time.Time `json:"time"` // when it began
	Verdict Verdict   `json:"verdict"`
	Deep    bool      `json:"deep"`
	Places  []string  `json:"places"`
	// Objects that chains name, and Manifests that could be read, right or wrong.
	Objects   uint64 `json:"objects"`
	Manifests uint64 `json:"manifests"`
	// Chains are sorted by class, spool and place.
	Chains []ChainReport `json:"chains"`
	// Findings are sorted: damage first, then by class, spool, place and sequence number.
	Findings []Finding `json:"findings"`
	// Omitted counts findings beyond Options.MaxFindings.
	Omitted int `json:"omitted,omitempty"`
	// NotAppeared are the names of Options.Expect that no chain has.
	NotAppeared []string `json:"not_appeared,omitempty"`
	// Hours are sorted by class and time: those with objects or findings, and the idle ones of the last 35 days. With Options.Hour,
	// only that one.
	Hours []HourReport `json:"hours"`
}

// ChainReport is what one spool delivered to one place, over all its epochs.
type ChainReport struct {
	Place       string `json:"place"`
	Class       string `json:"class"`
	Spool       string `json:"spool"`
	Destination string `json:"destination"` // the sender's name for the place
	Instance    string `json:"instance"`    // that wrote the last manifest
	Epoch       uint32 `json:"epoch"`       // the last one
	Manifests   uint64 `json:"manifests"`
	// First and Last are the sequence numbers that the chain covers. If it covers none, Last is 0 or less than First.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Segments counts those with an object; Records, Bytes (of payload) and Stored (bytes) are their sums.
	Segments uint64 `json:"segments"`
	Records  uint64 `json:"records"`
	Bytes    uint64 `json:"bytes"`
	Stored   int64  `json:"stored"`
	// NotOwed counts records from before this place was one of the spool's destinations, according to the sender.
	NotOwed uint64 `json:"not_owed,omitempty"`
	// Restored counts the repairs that Replay has noted.
	Restored uint64 `json:"restored,omitempty"`
	// Gaps counts records that were damaged on the sender's disk before they could be delivered.
	Gaps uint64 `json:"gaps"`
	// Lost counts what was lost before it could be kept, by cause.
	Lost segment.Losses `json:"lost"`
	// Filtered and Made count what the sender dropped and made on purpose: see segment.Ledger.
	Filtered segment.Tally `json:"filtered,omitzero"`
	Made     segment.Tally `json:"made,omitzero"`
	// Unaccounted bounds the records that are in no other count, because a process or a machine died.
	Unaccounted Unaccounted `json:"unaccounted,omitzero"`
	Final       bool        `json:"final"`
	// Closed is set if an operator has closed the chain and it is not final.
	Closed  *ClosedChain `json:"closed,omitempty"`
	Time    time.Time    `json:"last_manifest"` // when the last manifest was written
	Verdict Verdict      `json:"verdict"`
}

// Unaccounted sums up the periods for which a sender's balance can only be bounded.
type Unaccounted struct {
	Times       int           `json:"times"`         // how often its process or machine died
	Known       segment.Tally `json:"known"`         // received, but neither kept nor lost by cause
	AtMostBytes uint64        `json:"at_most_bytes"` // bound of what was received beyond Known, in bytes
}

func (u *Unaccounted) add(all []segment.Unaccounted) {
	for _, x := range all {
		u.Times++
		u.Known.Add(x.Known)
		u.AtMostBytes += x.AtMostBytes
	}
}

// The codes of findings. Those of damage:
const (
	ManifestMissing = "manifest-missing" // a number is not there though later ones are
	ManifestDamaged = "manifest-damaged" // not a manifest, or one that belongs under another key
	ChainBroken     = "chain-broken"     // a manifest is not the one that its successor names
	ChainCut        = "chain-cut"        // a head, a closing or a later epoch names manifests that are not there
	ChainMissing    = "chain-missing"    // objects of a spool that has no chain here
	SequenceBroken  = "sequence-broken"  // sequence numbers have a hole, or repeat
	AfterEnd        = "after-end"        // a manifest follows the end of its epoch, or its epoch is lower than that of the owner that took over
	FinalWrong      = "final-wrong"      // another place has records that a final manifest denies
	LineWrong       = "line-wrong"       // a line contradicts itself, its chain, its key, or another line here about its object
	PlacesDiffer    = "places-differ"    // the lines of two places about one segment differ
	RecordsDoubled  = "records-doubled"  // two chains of related spools have the same records at one place
	SignatureWrong  = "signature-wrong"  // none of the given keys vouches for a manifest
	ClosingWrong    = "closing-wrong"    // a closing is damaged, not signed by one of the given keys, or not of the chain
	HeadWrong       = "head-wrong"       // a head is damaged, or does not match its chain
	ObjectMissing   = "object-missing"
	ObjectAltered   = "object-altered" // size, checksum or records are not those of its line
	ObjectUnknown   = "object-unknown" // in no manifest
	// RecordsDamaged: a manifest states that records were damaged on their sender's disk before they could be delivered.
	RecordsDamaged = "records-damaged"
)

// The codes of what is owed, or not known.
const (
	Open        = "open"      // no final manifest
	Behind      = "behind"    // another place has more
	Absent      = "absent"    // another place has a chain that this one lacks
	Uncovered   = "uncovered" // an object ahead of the chain's end
	NotAppeared = "not-appeared"
	Unread      = "unread" // an object, manifest, head, closing or note is there but cannot be read: it is proven neither right nor wrong
	// NotUnderstood: this auditor does not know the version, codec, format or algorithm of something that is there. It is proven
	// neither right nor wrong, beyond what the finding says.
	NotUnderstood = "not-understood"
	HourOpen      = "hour-open" // the hour of Options.Hour is not over
	Reopened      = "reopened"  // a spool that was closed has delivered again
	Crowded       = "crowded"   // a place has more classes of its own than are judged hour by hour
)

// ObjectSuperseded is for information: each record of the object is in other objects that chains name. It was uploaded before the
// owner of a copy of the volume continued the chain with the same records.
const ObjectSuperseded = "object-superseded"

// ObjectNotOwed is for information: no chain of the place names the object, because an operator gave the place up after the object was
// uploaded, and took the place back later. It has exactly the records that the chain of another place states under its key.
const ObjectNotOwed = "object-not-owed"

// Finding is one thing that keeps a chain from being complete.
type Finding struct {
	Verdict Verdict `json:"verdict"` // Damaged or Owed; Closed and Complete: for information
	Code    string  `json:"code"`
	Place   string  `json:"place,omitempty"`
	Class   string  `json:"class,omitempty"`
	Spool   string  `json:"spool,omitempty"`
	Epoch   uint32  `json:"epoch,omitempty"`
	// First and Last are the sequence numbers concerned, both 0 if there are none or they are unknown. Last is 0 if only First is
	// known.
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	// Key of the object, manifest or head.
	Key string `json:"key,omitempty"`
	// Other is what contradicts it, as "place: key". If Detail does not say which of the two is wrong, either may be.
	Other string `json:"other,omitempty"`
	// Since is the time from which something is owed.
	Since time.Time `json:"since,omitzero"`
	// HourFrom and HourTo are the first and the last hour, in the sense of HourReport, whose records it may concern. A zero time means
	// no bound.
	HourFrom time.Time `json:"hour_from,omitzero"`
	HourTo   time.Time `json:"hour_to,omitzero"`
	// Detail says what is wrong, Cure what to do about it.
	Detail string `json:"detail"`
	Cure   string `json:"cure"`
}

// Progress shows how far an audit is. Its fields may be read at any time.
type Progress struct {
	// Manifests read, of those listed so far; Objects looked at, of those that manifests have named so far.
	Manifests, ManifestsOf, Objects, ObjectsOf atomic.Uint64
	// Bytes of objects read.
	Bytes atomic.Uint64
}

// recorder collects findings. It is safe for concurrent use.
type recorder struct {
	max  int
	hour int32 // Options.Hour, 0 for all

	mu       sync.Mutex
	damage   []Finding // separate, so that what is owed does not crowd it out
	debt     []Finding
	count    int
	verdicts map[chainID]Verdict
	spans    map[span]Verdict // the worst of each span of hours
	overall  Verdict
}

// chainID is one chain at one place.
type chainID struct {
	place string
	object.Origin
}

func newRecorder(o *Options) *recorder {
	r := &recorder{max: o.MaxFindings, verdicts: map[chainID]Verdict{}, spans: map[span]Verdict{}, overall: Complete}
	if !o.Hour.IsZero() {
		r.hour = object.HourOf(o.Hour)
	}
	return r
}

// add records a finding, and worsens the verdicts on its chain and hours. With Options.Hour, it ignores findings that concern only
// other hours.
func (r *recorder) add(f Finding) {
	f.boundHours()
	s, some := f.span()
	if r.hour != 0 && !(some && s.has(r.hour)) {
		return
	}
	if f.Cure == "" {
		f.Cure = cures[f.Code]
	}
	if f.Code == Unread && !isObject(f.Key) {
		f.Cure = cureOfUnread
	}
	if f.Spool != "" {
		f.Cure = strings.Replace(f.Cure, closeIt, closeCommand(f.Class, f.Spool), 1)
	}
	// Code and Key already say that something does not match, and which object.
	said := []string{ship.ErrVerify.Error() + ": ", "", ship.ErrSignature.Error() + ": ", "", ship.ErrVersion.Error() + ": ", ""}
	if f.Key != "" {
		said = append(said, f.Key+" is ", "it is ")
	}
	f.Detail = strings.NewReplacer(said...).Replace(f.Detail)
	closed := f.Verdict == Closed
	f.Verdict = Damaged
	switch f.Code {
	case Uncovered:
		if f.Verdict = Owed; closed {
			f.Verdict = Closed
		}
	case ObjectSuperseded, ObjectNotOwed:
		f.Verdict = Complete
	case Open, Behind, Absent, NotAppeared, Unread, NotUnderstood, HourOpen, Reopened, Crowded:
		f.Verdict = Owed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := chainID{f.Place, object.Origin{Class: f.Class, Spool: f.Spool}}
	r.verdicts[id] = r.verdict(id).worse(f.Verdict)
	r.overall = r.overall.worse(f.Verdict)
	if some {
		r.spans[s] = cmp.Or(r.spans[s], Complete).worse(f.Verdict)
	}
	r.count++
	list := &r.damage
	if f.Verdict != Damaged {
		list = &r.debt
	}
	if len(*list) < r.max {
		*list = append(*list, f)
	}
}

// atLeast makes the verdict on a chain, and on a span of hours, no better than v.
func (r *recorder) atLeast(id chainID, v Verdict, s span) {
	if r.hour != 0 && !s.has(r.hour) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans[s] = cmp.Or(r.spans[s], Complete).worse(v)
	r.verdicts[id] = r.verdict(id).worse(v)
	r.overall = r.overall.worse(v)
}

// findings returns the findings to list, and the number of all others.
func (r *recorder) findings() (list []Finding, omitted int) {
	list = append(append([]Finding{}, r.damage...), r.debt...)
	list = list[:min(len(list), r.max)]
	slices.SortFunc(list, compareFindings)
	return list, r.count - len(list)
}

func (r *recorder) verdict(id chainID) Verdict {
	if v, ok := r.verdicts[id]; ok {
		return v
	}
	return Complete
}

// spansByClass returns the spans of hours by class; "" has those that concern all classes.
func (r *recorder) spansByClass() map[string]map[span]Verdict {
	all := map[string]map[span]Verdict{}
	for s, v := range r.spans {
		if all[s.class] == nil {
			all[s.class] = map[span]Verdict{}
		}
		all[s.class][s] = v
	}
	return all
}

// full reports whether the list of damage has no room left.
func (r *recorder) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.damage) >= r.max
}

func compareFindings(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(b.Verdict.rank(), a.Verdict.rank()), // the worst first
		strings.Compare(a.Class, b.Class), strings.Compare(a.Spool, b.Spool), strings.Compare(a.Place, b.Place),
		cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.First, b.First), strings.Compare(a.Code, b.Code), strings.Compare(a.Key, b.Key),
		strings.Compare(a.Detail, b.Detail),
	)
}
