package senders

import (
	"encoding/json"
	"errors"
	"time"
)

// Began is the time of every event, which must come through.
var Began = time.Date(2026, 11, 28, 22, 32, 0, 123456789, time.UTC)

// ParseFluent reads a record of the Forward protocol.
func ParseFluent(data []byte) (Event, error) {
	var d struct {
		Tag    string
		Time   time.Time
		Record Event
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d.Record, err
	}
	if d.Tag != "app.web" || !d.Time.Equal(Began) && time.Since(d.Time).Abs() > time.Hour { // SendMessage takes the clock's
		return d.Record, errors.New("another tag or time")
	}
	return d.Record, nil
}
