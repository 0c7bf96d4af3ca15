package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Reaper empties the volumes that instances left behind, and deletes those that are proven to be delivered. Between two passes
// it keeps nothing that it could not find out again: its state is in EC2, the mounts and the destinations.
type Reaper struct {
	Instance string // this instance
	Fleet    string
	Orphans  string // directory with a mount point for each volume, which the collector watches (-adopt)
	Apply    bool   // false: it only reports what it would do
	AtOnce   int    // how many volumes it may hold at once
	// Young is the least age of a volume and of its note before a reaper takes the volume: its instance may be about to attach
	// it, or another reaper about to delete it. Retry is when a volume that was kept is examined again. Patience is how long a
	// volume may be held for an adoption that makes no progress.
	Young, Retry, Patience time.Duration

	Lister   Lister
	Attacher Attacher
	Keeper   Keeper
	Disks    Disks
	Mounts   Mounts
	Files    Files
	// Leaving reports whether this instance is about to be terminated: the reaper then takes no more volumes.
	Leaving func(ctx context.Context) (bool, error)
	// Adoption returns what the collector reports about a spool's directory.
	Adoption func(ctx context.Context, dir string) (Adoption, error)
	// Prove checks at the destinations whether a spool is delivered.
	Prove func(ctx context.Context, dir string) (Proof, error)
	// Pause waits between two checks of a volume that is being detached.
	Pause func(ctx context.Context, d time.Duration) error
	Now   func() time.Time
	Log   *slog.Logger

	zeros map[string]reading // of held volumes without any signature
	last  map[string]string  // the last message about each held or free volume
}

// reading is how far a volume has been read since it was attached.
type reading struct {
	since time.Time
	next  int64
}

// devices are the names under which a reaper attaches volumes. It never touches the instance's own volume, which has /dev/sdf.
var devices = []string{
	"/dev/sdg", "/dev/sdh", "/dev/sdi", "/dev/sdj", "/dev/sdk", "/dev/sdl", "/dev/sdm", "/dev/sdn", "/dev/sdo", "/dev/sdp",
}

// Pass examines every volume once, and processes each as far as possible. An error with one volume does not affect the others.
func (r *Reaper) Pass(ctx context.Context) error {
	all, err := r.Lister.Volumes(ctx)
	if err != nil {
		return fmt.Errorf("list the volumes: %w", err)
	}
	if r.zeros == nil {
		r.zeros, r.last = map[string]reading{}, map[string]string{}
	}
	var errs []error
	held := map[string]bool{}
	var free []*Volume
	used := map[string]bool{}
	for i := range all {
		v := &all[i]
		switch a := v.Attached; {
		case v.Tags[tagFleet] != r.Fleet:
		case a == nil:
			free = append(free, v)
		case a.Instance == r.Instance:
			used[a.Device] = true
			if !slices.Contains(devices, a.Device) {
				continue // the instance's own volume
			}
			held[v.ID] = true
		}
	}
	for i := range all {
		if v := &all[i]; held[v.ID] && ctx.Err() == nil {
			gone, err := r.tend(ctx, v)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", v.ID, err))
			}
			if gone {
				delete(held, v.ID)
			}
		}
	}
	r.forget(held, free)
	r.sweep(held)
	errs = append(errs, r.takeSome(ctx, free, used, len(held)))
	return errors.Join(errs...)
}

// forget drops the state of volumes that are neither held nor free.
func (r *Reaper) forget(held map[string]bool, free []*Volume) {
	maps.DeleteFunc(r.zeros, func(id string, _ reading) bool { return !held[id] })
	maps.DeleteFunc(r.last, func(id, _ string) bool {
		return !held[id] && !slices.ContainsFunc(free, func(v *Volume) bool { return v.ID == id })
	})
}

// takeSome attaches free volumes in random order, so that reapers seldom want the same one.
func (r *Reaper) takeSome(ctx context.Context, free []*Volume, used map[string]bool, held int) error {
	free = slices.DeleteFunc(free, func(v *Volume) bool { return !r.wants(v) })
	if len(free) == 0 || held >= r.AtOnce || ctx.Err() != nil {
		return nil
	}
	leaving, err := r.Leaving(ctx)
	if err != nil || leaving {
		return err
	}
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	var errs []error
	for _, v := range free {
		if held >= r.AtOnce || ctx.Err() != nil {
			break
		}
		if !r.Apply {
			r.say(v, "a dry run: it would be attached, to be adopted")
			held++
			continue
		}
		took, err := r.take(ctx, v, used)
		if took {
			held++
		}
		if errors.Is(err, ErrFull) {
			r.say(v, "it is not taken: "+err.Error())
			break
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.ID, err))
		}
	}
	return errors.Join(errs...)
}

// wants reports whether a free volume may be taken now.
func (r *Reaper) wants(v *Volume) bool {
	now, noted := r.Now(), v.noted()
	switch {
	case v.State != "available", now.Sub(v.Created) < r.Young:
		return false
	case v.Tags[tagState] == kept:
		return now.Sub(noted) >= r.Retry // immediately if an operator has removed the note, or replaced it by another
	case v.Tags[tagState] == delivered:
		return now.Sub(noted) >= r.Young
	}
	return true
}

// take attaches a volume under the first free device name.
func (r *Reaper) take(ctx context.Context, v *Volume, used map[string]bool) (bool, error) {
	for _, device := range devices {
		if used[device] {
			continue
		}
		used[device] = true
		switch err := r.Attacher.Attach(ctx, v.ID, device); {
		case errors.Is(err, ErrDevice): // EC2 knows that the name is in use, but the list does not show it yet
			continue
		case errors.Is(err, ErrTaken), errors.Is(err, ErrGone): // another reaper was faster
			used[device] = false
			return false, nil
		case err != nil:
			return false, fmt.Errorf("attach as %s: %w", device, err)
		}
		delete(r.zeros, v.ID)
		r.Log.Info("reaper: attached a volume that no instance held; it is mounted when its device is there", "volume", v.ID, "device", device)
		// From now on a note of an earlier proof is void.
		return true, r.tag(ctx, v, adopting, "it is attached to be adopted")
	}
	return false, ErrFull
}

// tag records the state of a volume and the reason. It does not repeat an unchanged note that the volume is being adopted.
func (r *Reaper) tag(ctx context.Context, v *Volume, state, why string) error {
	reason := note(r.Now(), r.Instance, why)
	_, have, _ := strings.Cut(v.Tags[tagReason], " ")
	if _, want, _ := strings.Cut(reason, " "); state == adopting && v.Tags[tagState] == state && have == want {
		return nil
	}
	tags := map[string]string{tagState: state, tagReason: reason}
	if v.Tags[tagSince] == "" {
		tags[tagSince] = r.Now().UTC().Format(time.RFC3339)
	}
	if err := r.Keeper.Tag(ctx, v.ID, tags); err != nil {
		return fmt.Errorf("tag as %s: %w", state, err)
	}
	return nil
}

// say logs a message about a volume, unless it was the last one logged for it.
func (r *Reaper) say(v *Volume, what string) {
	if r.last[v.ID] != what {
		r.last[v.ID] = what
		r.Log.Info("reaper: a volume stays as it is for now", "volume", v.ID, "why", what)
	}
}

// mountPoint returns the directory where a volume is mounted.
func (r *Reaper) mountPoint(volume string) string { return filepath.Join(r.Orphans, volume) }

// sweep removes the empty mount points of volumes that are not held any more. It can remove nothing else.
func (r *Reaper) sweep(held map[string]bool) {
	entries, err := os.ReadDir(r.Orphans)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Log.Warn("reaper: cannot read the directory of the mount points, so old ones stay there: make it, or correct -orphans", "dir", r.Orphans, "err", err)
	}
	for _, e := range entries {
		if r.Apply && e.IsDir() && strings.HasPrefix(e.Name(), "vol-") && !held[e.Name()] {
			_ = os.Remove(r.mountPoint(e.Name())) // fails while something is mounted there or the directory is not empty
		}
	}
}
