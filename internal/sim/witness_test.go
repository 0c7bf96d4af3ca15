package sim

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// witnesses knows which witnesses of each record on the volume were damaged. If all of them were, the record may be missing
// without a report: design.md lists these combinations, and record.silent allows no others.
type witnesses struct {
	hits []string  // files that were damaged, in this life or since
	note bool      // including the note of the newest segment
	cut  bool      // the last process ended with a power cut, which may have lost the last state of that note
	last []int     // records in the newest segment, which was damaged
	died time.Time // when the last process was killed
	// unlinked is when the newest segment was deleted, which the process has open: it goes on to write records there. Zero: never.
	unlinked time.Time
}

// noteEvery is how often a process notes what it has made durable in the newest segment. What it has made durable since the last
// note before a kill has no witness but the segment.
const noteEvery = 10 * time.Millisecond

// begunFile is the note of the newest segment.
const begunFile = "/spool/begun"

// silent reports whether every witness of a record was damaged.
func (r *record) silent() bool { return r.hit && (!r.durable || r.blind) }

// aim records that a file is about to be damaged. h.mu is held.
func (h *host) aim(path string) {
	h.hits = append(h.hits, path)
	h.note = h.note || path == begunFile
	h.misled = h.misled || path == "/spool/spool.json"
	h.look()
}

// look finds the records in damaged files: those that such a file contains, or received while the process that has it open did
// not notice the damage. h.mu is held.
func (h *host) look() {
	if len(h.hits) == 0 {
		return
	}
	newest := h.newest()
	for _, path := range h.hits {
		ids := h.idsIn(read(h.mem, path))
		for _, id := range ids {
			h.w.journal.note(id, func(r *record) { r.hit = true })
		}
		if path == newest {
			h.last = append(h.last, ids...)
		}
	}
}

// judge finds out, before a process starts, which damaged records have no witness left: those of the newest segment, if its
// note was damaged too, or does not include them because a kill came before the note was written, or a power cut before it was durable.
// h.mu is held.
func (h *host) judge() {
	h.look()
	if !h.unlinked.IsZero() {
		h.w.journal.each(func(r *record) {
			if r.volume == h.n && !r.at.Before(h.unlinked) {
				r.hit = true
				h.last = append(h.last, r.id)
			}
		})
	}
	next := h.noted()
	for _, id := range h.last {
		h.w.journal.note(id, func(r *record) {
			r.blind = r.blind || h.note || r.seq >= next && (h.cut || h.died.Sub(r.at) < noteEvery)
		})
	}
	h.witnesses = witnesses{}
}

// newest returns the newest segment file that has records. A spare file has neither records nor a header.
func (h *host) newest() string {
	const header = 4096
	for _, path := range slices.Backward(files(h.mem, "/spool/seg")) {
		b := read(h.mem, path)
		if len(bytes.Trim(b[:min(len(b), header)], "\x00")) > 0 && len(h.idsIn(b)) > 0 {
			return path
		}
	}
	return ""
}

// noted returns the number after the last record that the note of the newest segment includes; 0 if it cannot be read.
func (h *host) noted() (next uint64) {
	const page = 4096
	turn := uint64(0)
	for b := read(h.mem, begunFile); len(b) > 0; b = b[min(len(b), page):] {
		var n struct{ Turn, Next uint64 }
		if json.Unmarshal(bytes.TrimRight(b[:min(len(b), page)], "\x00"), &n) == nil && n.Turn > turn {
			turn, next = n.Turn, n.Next
		}
	}
	return next
}

var payloads = regexp.MustCompile(`r[0-9]{9} `)

// idsIn returns the records whose payloads begin in b.
func (h *host) idsIn(b []byte) (ids []int) {
	for _, p := range payloads.FindAll(b, -1) {
		if id, err := strconv.Atoi(string(p[1:10])); err == nil && id < h.w.journal.len() { // otherwise the number itself was damaged
			ids = append(ids, id)
		}
	}
	return ids
}
