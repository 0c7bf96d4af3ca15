package audit

import (
	"fmt"
	"time"

	"github.com/penstock-go/penstock/spool/object"
)

// skew is how far the clock of this host is trusted no sender's being with it: an hour that has just ended by this clock
// alone may still be going on at the senders.
const skew = 5 * time.Minute

// hasPassedHour reports whether the chain says all there is to say about Options.Hour: its sender has promised, in a manifest, that
// nothing will follow in that folder. Whether the hour itself is over is another question: see checkHour.
func (w *walk) hasPassedHour() bool {
	return w.Final || w.reached > object.HourOf(w.a.o.Hour)
}

// checkHour reports an hour that is not over. Before its end a new spool may begin in it, and a spool that was closed out
// may be opened again, so that the promises of the chains that are here are not enough: the hour must have ended by this
// host's clock, and by that of a sender too unless it ended so long ago that no clock is that wrong. Both clocks can err, and
// an hour that is called complete too early is a batch job without the rest of its records.
func (a *auditor) checkHour(now time.Time) {
	if a.o.Hour.IsZero() {
		return
	}
	end := a.o.Hour.Add(time.Hour)
	var sender *walk // that has seen the end of the hour
	for _, p := range a.places {
		for _, w := range p.walks {
			if seen := w.reached > object.HourOf(a.o.Hour) || !w.Time.Before(end); seen && (sender == nil || p.name+w.Spool < sender.p.name+sender.Spool) {
				sender = w
			}
		}
	}
	f := Finding{Code: HourOpen}
	f.Detail = fmt.Sprintf("hour %s ends at %s, and the clock of this host says %s", a.o.Hour.Format("2006-01-02T15"), end.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	switch {
	case now.Before(end) && sender != nil:
		f.Place, f.Class, f.Spool = sender.p.name, sender.Class, sender.Spool
		f.Detail += fmt.Sprintf("; its sender, %s, says that it is over: one of the two clocks is wrong", sender.Instance)
	case now.Before(end):
	case sender == nil && now.Before(end.Add(skew)):
		f.Detail += fmt.Sprintf("; no manifest was written since, so that the senders' clocks may be behind: it counts as over at %s", end.Add(skew).Format(time.RFC3339))
	default:
		return
	}
	a.rec.add(f)
	for _, p := range a.places {
		for id := range p.walks {
			a.rec.atLeast(chainID{p.name, id}, Owed)
		}
	}
}
