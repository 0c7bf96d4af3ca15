package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// state is the progress of a record, as far as its source and the samples know.
type state uint8

const (
	sent  state = iota // in flight: nothing has been promised
	taken              // Offer has returned, or an Append that could not wait: received, not yet kept
	kept               // Append has returned nil, or an Offer has been written
)

// record is the world's knowledge about one record.
type record struct {
	id      int
	size    int
	state   state
	durable bool
	volume  int // of the host that took it
	life    int // the process
	spool   string
	seq     uint64
	at      time.Time // when the process took it
	// unfound: a later process has not found the record in its spool, and reuses its number. Reports of that process about the
	// number do not refer to this record.
	unfound bool
	// hit, blind: see witnesses.
	hit, blind bool
	// excused is the reason why the record may be missing, "" if it must not be.
	excused string
	// optional destinations were not among the spool's when the record was kept, or have been given up since.
	optional map[string]bool
}

// replacedVolume excuses records on a volume that was replaced by an older one.
const replacedVolume = "the volume was replaced by an older one"

// journal remembers every record that was ever sent.
type journal struct {
	mu      sync.Mutex
	records []*record
}

// next makes the payload of a new record. It contains the record's number, and can be made again from it.
func (j *journal) next(size int) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &record{id: len(j.records), size: max(size, 16), optional: map[string]bool{}}
	j.records = append(j.records, r)
	return payload(r.id, r.size)
}

// record makes a new record.
func (j *journal) record(size int) segment.Record {
	data := j.next(size)
	return segment.Record{Data: data, Attrs: attrsOf(data)}
}

func payload(id, size int) []byte {
	b := fmt.Appendf(make([]byte, 0, size), "r%09d ", id)
	for i := len(b); i < size; i++ {
		b = append(b, byte('a'+(id+i)%26))
	}
	return b
}

// number returns the number of the record with a payload; false if no source sent it, or if it was altered.
func (j *journal) number(b []byte) (int, bool) {
	if len(b) < 11 || b[0] != 'r' {
		return 0, false
	}
	id, err := strconv.Atoi(string(b[1:10]))
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil || id < 0 || id >= len(j.records) || !bytes.Equal(b, payload(id, j.records[id].size)) {
		return 0, false
	}
	return id, true
}

// len returns how many records were sent.
func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.records)
}

// note changes the knowledge about a record.
func (j *journal) note(id int, change func(*record)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(j.records[id])
}

// each changes the knowledge about all records.
func (j *journal) each(change func(*record)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.records {
		change(r)
	}
}
