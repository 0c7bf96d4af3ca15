package drain

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/penstock-go/penstock/spool/segment"
)

// LostSink is where the records of a class go whose spool cannot be opened before the process ends: for example those that an
// ingest.Hold has received for a successor. It keeps nothing. What is offered is counted as lost (given_up), and what is appended is
// refused, so that no sender is told that it was kept. It has the methods of an ingest.Sink.
type LostSink struct {
	class string

	mu      sync.Mutex
	account segment.Account
}

// LostSink returns the sink for the records of a class that was not added. The report has the class with what the sink counted. It is
// not better than Incomplete if records were given up, and no Drain is complete with such a class.
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

// Account adds what was received and lost.
func (l *LostSink) Account(a segment.Account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account.Add(a)
}

// Lost returns what was lost, by cause.
func (l *LostSink) Lost() segment.Losses {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.account.Lost
}

// report adds what was counted to the class.
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
