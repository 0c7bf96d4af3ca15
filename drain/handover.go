package drain

import (
	"context"
	"errors"
)

// ErrHandedOver is what Run returns, without a report, after HandOver.
var ErrHandedOver = errors.New("drain: handed over to a successor")

// HandOver ends this process's part in favour of a successor that receives already (ingest.HandOver) and waits for the
// spools: connections end, shippers stop where they are, and the spools are closed as they are, with everything in them on
// the disk and nothing sealed. There is no report, and no platform hears of it: the service goes on.
//
// It waits for the disk as long as that takes, since nobody else has what is in this process's memory; ctx ends only the
// wait for what listeners still have in hand. In a full spool that is kept over the quota, since nobody makes room any more;
// where the disk has none either, it is given up after ten seconds and counted as lost. ErrEnding says that the process was ending already: the successor then waits
// for that. The error of a spool that could not be closed in order is for the log; the successor recovers it.
func (d *Drainer) HandOver(ctx context.Context) error {
	err := ErrEnding
	d.once.Do(func() {
		d.mu.Lock()
		d.ending = true
		d.mu.Unlock()
		d.err = ErrHandedOver
		d.halt() // an upload that this cuts off is the successor's to repeat, under the same key
		err = d.each(func(c *class) error {
			err := c.leaveListeners(ctx)
			<-c.done
			c.awaitDisk(context.WithoutCancel(ctx), d.o.Logger)
			c.spool.Shelf().HandOver()
			return errors.Join(err, c.spool.Close())
		})
	})
	return err
}
