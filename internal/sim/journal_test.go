package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"

	"github.com/penstock-go/penstock/spool/segment"
)

// state is how far a record has come, as its source and the samples know.
type state uint8

const (
	sent  state = iota // on its way: nobody has promised anything
	taken              // Offer has returned, or an Append that could not wait: received, not yet kept
	kept               // Append has returned nil, or an Offer has been written
)

// record is what the world knows of one.
type record struct {
	id      int
	size    int
	state   state
	durable bool
	volume  int // of the host that took it
	life    int // the process
	spool   string
	seq     uint64
	// unfound: a later process has not found it in its spool, and gives its number again. What that one says of the number
	// is not about this record.
	unfound bool
	// hit, blind: see witnesses.
	hit, blind bool
	// excused says why it may be missing, "" if it must not.
	excused string
	// optional destinations were not among the spool's when it was kept, or were given up since.
	optional map[string]bool
}

// replacedVolume excuses what a volume has that an older one has taken the place of.
const replacedVolume = "the volume was replaced by an older one"

// journal remembers every record that was ever sent.
type journal struct {
	mu      sync.Mutex
	records []*record
}

// next makes the payload of a record that was not sent before. It tells its number, and can be made again from it.
func (j *journal) next(size int) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &record{id: len(j.records), size: max(size, 16), optional: map[string]bool{}}
	j.records = append(j.records, r)
	return payload(r.id, r.size)
}

// record makes a record that was not sent before.
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

// number returns which record a payload is; false if no source has sent it, or if it was altered.
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

// len is how many records were sent.
func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.records)
}

// note changes what is known of a record.
func (j *journal) note(id int, change func(*record)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(j.records[id])
}

// each changes what is known of all.
func (j *journal) each(change func(*record)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.records {
		change(r)
	}
}
