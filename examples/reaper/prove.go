package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// prover audits the destinations for single spools. The collector compared the volume with the destinations when it adopted it;
// the auditor trusts nobody, and reads only what is there now.
type prover struct {
	places []audit.Place
	keys   []ed25519.PublicKey
	// retention: objects whose newest record is older may have been deleted. 0: no object may.
	retention time.Duration
	log       *slog.Logger
}

// prove returns whether every destination has all of the spool in dir, and all its chains are final. A spool with a destination
// that is not among the places proves nothing.
func (p *prover) prove(ctx context.Context, dir string) (Proof, error) {
	in, err := spool.Inspect(dir)
	if errors.Is(err, spool.ErrLocked) {
		return Proof{Why: "a process has it open"}, nil
	}
	if err != nil {
		return Proof{Why: "it cannot be inspected: " + err.Error()}, nil
	}
	if len(in.Damages) > 0 {
		return Proof{Why: fmt.Sprintf("segment %d is damaged", in.Damages[0].Segment), Lasting: true}, nil
	}
	id := object.Origin{Class: in.Class, Spool: in.Spool}
	if err := id.Check(); err != nil {
		return Proof{Why: err.Error(), Lasting: true}, nil
	}
	o := &audit.Options{Class: id.Class, Keys: p.keys, MaxFindings: 100, Logger: p.log}
	if p.retention > 0 {
		o.Since = time.Now().Add(-p.retention)
	}
	for i, place := range p.places {
		o.Places = append(o.Places, audit.Place{
			Name: cmp.Or(place.Name, fmt.Sprintf("place %d", i+1)), Destination: newScope(place.Destination, id, in.Segments),
		})
	}
	r, err := audit.Run(ctx, o)
	if err != nil {
		return Proof{}, err
	}
	proof := weigh(in, r)
	for _, place := range o.Places {
		if !proof.Complete {
			break
		}
		why, err := missingAt(ctx, place, in, r)
		if err != nil {
			return Proof{}, err
		}
		if why != "" {
			proof = Proof{Why: why}
		}
	}
	return proof, nil
}

// weigh compares the spool of a volume with the result of its audit. A place has several chains if the volume was copied, or if
// another owner has continued its chain; weigh uses the one that ends last. So if it finds something missing, that is certain.
// The opposite is not, since the chain of a copy may be longer but contain other records: missingAt looks for each segment.
func weigh(in *spool.Inspection, r *audit.Result) Proof {
	if r.Verdict != audit.Complete {
		why := "the auditor's verdict is " + string(r.Verdict)
		if len(r.Findings) > 0 {
			f := r.Findings[0]
			why += fmt.Sprintf(": %s at %s: %s", f.Code, f.Place, f.Detail)
		}
		// For the verdict closed: an operator has declared this volume gone, but it is here.
		return Proof{Why: why, Lasting: r.Verdict != audit.Owed}
	}
	ends := map[string]uint64{} // by place; all chains there are final
	destinations := map[string]bool{}
	for _, c := range r.Chains {
		if !c.Final {
			return Proof{Why: "the chain at " + c.Place + " is not final"}
		}
		ends[c.Place] = max(ends[c.Place], c.Last)
		destinations[c.Destination] = true
	}
	for _, place := range r.Places {
		end, ok := ends[place]
		if !ok {
			return Proof{Why: "no chain of it is at " + place}
		}
		if end+1 < in.Next {
			return Proof{Why: fmt.Sprintf("%s has records up to %d, and the volume up to %d", place, end, in.Next-1)}
		}
	}
	var missing []string
	for name, d := range in.Destinations {
		if !d.Forgotten && !destinations[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return Proof{Why: "it delivers to " + slices.Min(missing) + " too, which is not among the destinations of -at", Lasting: true}
	}
	return Proof{Complete: true}
}
