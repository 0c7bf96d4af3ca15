package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// MarkerVersion is the version of the marker format that this package writes.
const MarkerVersion = 1

// maxMarker bounds a marker in bytes.
const maxMarker = 64 << 10

// Marker says that an hour of a class was complete, for jobs that look for one object instead of asking an auditor. It is a line of
// JSON under object.MarkerKey (_complete/CLASS/dt=YYYY-MM-DD/hour=HH.json), written once and never changed: it says what was true at
// Time. It proves nothing, and no audit reads it.
type Marker struct {
	Version int       `json:"version"`
	Class   string    `json:"class"`
	Hour    time.Time `json:"hour"`
	// Verdict is Complete or Closed.
	Verdict Verdict   `json:"verdict"`
	Time    time.Time `json:"time"`   // of the audit
	Places  []string  `json:"places"` // that were audited
	Tally
}

// ErrIncomplete is wrapped by the error of Mark for an hour that is neither complete nor closed.
var ErrIncomplete = errors.New("the hour is not complete")

// ErrMarkerTaken is wrapped by the error of Mark if the marker's key holds something else. Mark never overwrites it: find out who
// wrote it, and remove it if it is no marker.
var ErrMarkerTaken = errors.New("its key has another object: look who wrote it")

// Mark writes the marker of an hour to a destination. It returns the marker's key, and whether another audit had already written one.
// Audits themselves only read; Mark needs credentials that may create objects below _complete/ and read them (S3: s3:PutObject and
// s3:GetObject on PREFIX/_complete/*, s3:ListBucket; SFTP and directories: below _complete/ and _tmp/).
func Mark(ctx context.Context, at ship.Destination, r *Result, h HourReport) (key string, before bool, err error) {
	key = object.MarkerKey(h.Class, object.HourOf(h.Hour))
	if h.Verdict != Complete && h.Verdict != Closed {
		return key, false, fmt.Errorf("audit: mark %s: %w, but %s", key, ErrIncomplete, h.Verdict)
	}
	b, err := json.Marshal(Marker{MarkerVersion, h.Class, h.Hour, h.Verdict, r.Time, r.Places, h.Tally})
	if err != nil {
		return key, false, fmt.Errorf("audit: mark %s: %w", key, err)
	}
	b = append(b, '\n')
	o := ship.BytesObject(key, "audit", b)
	o.ContentType = "application/json"
	d := ship.Guard(at, nil)
	_, err = d.Put(ctx, o, io.NewSectionReader(bytes.NewReader(b), 0, o.Size))
	if errors.Is(err, ship.ErrConflict) {
		return key, true, isMarkerOf(ctx, d, key, h)
	}
	if err != nil {
		return key, false, fmt.Errorf("audit: mark %s: %w", key, err)
	}
	return key, false, nil
}

// isMarkerOf returns nil if a marker of this hour is under the key. Its verdict and counts are those of the audit that wrote it, and
// are not compared.
func isMarkerOf(ctx context.Context, d ship.Destination, key string, h HourReport) error {
	body, err := d.Open(ctx, key)
	if err != nil {
		return fmt.Errorf("audit: mark %s: %w", key, err)
	}
	defer body.Close()
	var m Marker
	b, err := io.ReadAll(io.LimitReader(body, maxMarker))
	if err == nil && (json.Unmarshal(b, &m) != nil || m.Version != MarkerVersion || m.Class != h.Class || !m.Hour.Equal(h.Hour)) {
		err = ErrMarkerTaken
	}
	if err != nil {
		return fmt.Errorf("audit: mark %s: %w", key, err)
	}
	return nil
}
