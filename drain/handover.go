package drain

import (
	"context"
	"errors"
)

// ErrHandedOver is returned by Run, Stop and Drain, without a report, after HandOver. A waiting Run returns it too.
var ErrHandedOver = errors.New("drain: handed over to a successor")

// HandOver ends this process in favour of a successor that receives already (ingest.HandOver) and waits for the spools.
// Connections end, shippers stop immediately, and the spools are closed with everything on disk but nothing sealed. There
// is no report, and no platform is told, because the service continues.
//
// HandOver waits for the disk as long as necessary, since no other process has the records in this one's memory. ctx ends
// only the wait for records that listeners still have in hand. A full spool keeps these over its quota, since no shipper
// frees space any more; if the disk is full too, they are given up after ten seconds and counted as lost. HandOver
// returns ErrEnding if the process was ending already; the successor then waits for that end. If a spool could not be
// closed properly, HandOver returns an error, which the caller should log; the successor recovers the spool.
func (d *Drainer) HandOver(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	if !d.begin() {
		return ErrEnding
	}
	defer close(d.ended) // a waiting Run returns
	d.err = ErrHandedOver
	d.halt() // the successor repeats an upload that this interrupts, under the same key
	return d.each(func(c *class) error {
		noted := make(chan struct{})
		go func() { // at once, since a power cut from here on also takes what the successor has; a slow disk does not keep the listeners
			defer close(noted)
			c.spool.Shelf().HandOver()
		}()
		err := c.leaveListeners(ctx)
		<-c.done
		c.awaitDisk(context.WithoutCancel(ctx), d.o.Logger)
		<-noted
		return errors.Join(err, c.spool.Close())
	})
}
