package drain

import (
	"context"
	"errors"
)

// ErrHandedOver is returned by Run, Stop and Drain, without a report, after HandOver. A Run that waits returns it.
var ErrHandedOver = errors.New("drain: handed over to a successor")

// HandOver ends this process in favour of a successor that receives already (ingest.HandOver) and waits for the spools.
// Connections end, shippers stop where they are, and the spools are closed with everything in them on disk and nothing
// sealed. There is no report, and no platform is told: the service continues.
//
// HandOver waits for the disk as long as necessary, since no other process has the records in this one's memory. ctx
// ends only the wait for what listeners still have in hand. In a full spool that is kept over the quota, since no
// shipper makes space any more; if the disk is full too, it is given up after ten seconds and counted as lost.
// ErrEnding says that the process was ending already; the successor then waits for that. If a spool could not be closed
// properly, the error is for the log, and the successor recovers the spool.
func (d *Drainer) HandOver(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	if !d.begin() {
		return ErrEnding
	}
	defer close(d.ended) // a Run that waits returns
	d.err = ErrHandedOver
	d.halt() // an upload that this cuts off is the successor's to repeat, under the same key
	return d.each(func(c *class) error {
		err := c.leaveListeners(ctx)
		<-c.done
		c.awaitDisk(context.WithoutCancel(ctx), d.o.Logger)
		c.spool.Shelf().HandOver()
		return errors.Join(err, c.spool.Close())
	})
}
