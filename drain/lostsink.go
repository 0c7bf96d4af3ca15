package drain

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/penstock-go/penstock/spool/segment"
)

// LostSink is an ingest.Sink for the records of a class whose spool cannot be opened before the process ends: for example those
// that an ingest.Hold has received in a successor. It keeps nothing. It counts offered records as lost (given_up), and refuses
// appended ones, so that no sender gets an acknowledgement.
type LostSink struct {
	class string

	mu      sync.Mutex
	account segment.Account
}

// LostSink returns the sink for the records of a class that was not added. The report contains the class with the counts of the
// sink. If records were given up, the Outcome is Incomplete at best, and no Drain is complete with such a class.
func (d *Drainer) LostSink(class string) *LostSink {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost[class] == nil {
		if d.lost == nil {
			d.lost = map[string]*LostSink{}
		}
		d.lost[class] = &LostSink{class: class}
	}
	return d.lost[class]
}

var errNoSpool = errors.New("drain: the class has no spool, and the process is ending")

// Append refuses the batch.
func (l *LostSink) Append(context.Context, []segment.Record) (last uint64, err error) {
	return 0, fmt.Errorf("class %s: %w", l.class, errNoSpool)
}

// Offer counts the batch as lost.
func (l *LostSink) Offer(_ context.Context, batch []segment.Record) (last uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := &l.account.Lost[segment.GivenUp]
	for i := range batch {
		lost.Records++
		lost.Bytes += uint64(len(batch[i].Data))
	}
	return 0, nil
}

// Account adds a to the account of the class.
func (l *LostSink) Account(a segment.Account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account.Add(a)
}

// Lost returns how much was lost, by cause.
func (l *LostSink) Lost() segment.Losses {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.account.Lost
}

// report adds the counts to the report of the class.
func (l *LostSink) report(c *ClassReport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.account
	c.Received.Add(a.Received)
	c.Made.Add(a.Made)
	c.Filtered.Add(a.Filtered)
	c.Lost.Add(a.Lost)
	c.LostMeanwhile.Add(a.Lost)
	c.LostInEnd += forsaken(&a.Lost)
}
