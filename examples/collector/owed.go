package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/status"
)

// Pending implements drain.Adoptions. A directory that cannot be searched counts, because it may hold anything. A directory
// that does not exist holds nothing: its volume is not attached to this instance, so it is not lost with the instance.
func (a *adoptions) Pending() (owed []drain.Adoption) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.c.adopt) == 0 {
		return nil
	}
	for _, root := range a.unreadable() {
		if r := a.roots[root]; !r.missing {
			owed = append(owed, drain.Adoption{Dir: root, Why: "it cannot be read: " + r.why})
		}
	}
	if !a.looked {
		for _, root := range a.c.adopt {
			owed = append(owed, drain.Adoption{Dir: root, Why: "not searched yet"})
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(a.seen)) {
		if o := a.seen[dir]; o.State != "delivered" {
			owed = append(owed, drain.Adoption{
				Dir: dir, Class: o.Class, Spool: o.Spool, Pending: maps.Clone(o.Pending), Why: cmp.Or(o.Err, "it is being delivered"),
			})
		}
	}
	return owed
}

// unreadable lists the directories that cannot be searched, without the spools that are listed by themselves. a.mu is held.
func (a *adoptions) unreadable() (roots []string) {
	for _, root := range slices.Sorted(maps.Keys(a.roots)) {
		if o := a.seen[root]; o == nil || o.State == "delivered" {
			roots = append(roots, root)
		}
	}
	return roots
}

// Wait implements drain.Adoptions.
func (a *adoptions) Wait(ctx context.Context) error {
	a.rushOnce.Do(func() { close(a.rush) })
	for {
		a.mu.Lock()
		changed := a.changed
		a.mu.Unlock()
		owed := a.Pending()
		if len(owed) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d adopted volumes are not delivered, the first: %s: %s", len(owed), owed[0].Dir, owed[0].Why)
		}
	}
}

// ServeHTTP shows the progress of each adoption, what is pending, and what delays it.
func (a *adoptions) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	all := make([]orphan, 0, len(a.seen))
	for _, root := range a.unreadable() {
		all = append(all, orphan{Dir: root, State: "unreadable", Err: a.roots[root].why})
	}
	for _, dir := range slices.Sorted(maps.Keys(a.seen)) {
		all = append(all, *a.seen[dir])
	}
	a.mu.Unlock()
	for i := range all {
		all[i].Err = status.Clean(all[i].Err) // anyone who can reach the port can read it
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(all) // the client may have closed the connection
}
