package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-go/penstock/drain/status"
)

// Adoption is what the collector reports about a spool.
type Adoption struct {
	State string // waiting, delivering, delivered; "" if the collector does not know the spool (yet)
	Err   string // why the spool is not delivered
}

// Proof is the result of an audit of the destinations for a spool.
type Proof struct {
	Complete bool
	Why      string // why it is not complete
	// Lasting: waiting will not make it complete.
	Lasting bool
}

// tend processes a volume that this instance holds. gone reports that the instance no longer holds it.
func (r *Reaper) tend(ctx context.Context, v *Volume) (gone bool, err error) {
	if v.Attached.State != "attached" {
		return false, nil // it is being attached or detached
	}
	device, err := r.Disks.Find(v.ID)
	if errors.Is(err, fs.ErrNotExist) {
		r.say(v, "its device is not there yet")
		return false, nil
	}
	if err != nil {
		return false, err
	}
	dir := r.mountPoint(v.ID)
	at, err := r.Mounts.At(device)
	if err != nil {
		return false, err
	}
	if other := slices.DeleteFunc(at, func(p string) bool { return p == dir }); len(other) > 0 {
		r.say(v, "it is mounted at "+other[0]+", not by this reaper")
		return false, nil
	}
	if !r.Apply {
		r.say(v, "a dry run: it would be mounted, and deleted after a proof")
		return false, nil
	}
	if len(at) == 0 {
		return r.mount(ctx, v, device, dir)
	}
	return r.judge(ctx, v, device, dir)
}

// mount mounts a volume with a file system. A volume without any signature counts as never formatted if every byte is zero.
func (r *Reaper) mount(ctx context.Context, v *Volume, device, dir string) (gone bool, err error) {
	c, err := r.Disks.Probe(ctx, device)
	switch {
	case err != nil:
		return r.impatient(ctx, v, device, dir, unreadable+": blkid cannot read it: "+err.Error())
	case c.Signature != "":
		return r.keep(ctx, v, device, dir, notMountable+": blkid finds on it "+c.Signature)
	case c.FileSystem == "":
		return r.readZeros(ctx, v, device, dir)
	case !mountable[c.FileSystem]:
		return r.keep(ctx, v, device, dir, notMountable+": file systems of type "+c.FileSystem+" are not mounted")
	}
	if err := r.Mounts.Mount(device, c, dir); err != nil {
		return r.keep(ctx, v, device, dir, notMounted+": its file system cannot be mounted: "+err.Error())
	}
	r.Log.Info("reaper: mounted a volume read-only; the collector adopts what is on it", "volume", v.ID, "dir", dir, "type", c.FileSystem)
	return false, r.tag(ctx, v, adopting, "it is attached to be adopted")
}

// readZeros reads a part of a volume on which blkid finds nothing.
func (r *Reaper) readZeros(ctx context.Context, v *Volume, device, dir string) (gone bool, err error) {
	from := r.zeros[v.ID]
	if !from.since.Equal(v.Attached.Since) {
		from = reading{since: v.Attached.Since} // another instance may have written to it since
	}
	next, done, zero, err := r.Disks.Zero(ctx, device, from.next)
	switch {
	case err != nil:
		return r.impatient(ctx, v, device, dir, unreadable+": it cannot be read: "+err.Error())
	case !zero:
		return r.keep(ctx, v, device, dir, notEmpty+": it has no file system, but it is not empty; its first blocks may be damaged: look at it with fsck -n")
	case !done:
		r.zeros[v.ID] = reading{from.since, next}
		r.say(v, "it has no file system, and is read as a whole before it counts as empty")
		return false, nil
	}
	delete(r.zeros, v.ID)
	// Someone may have made a file system meanwhile.
	c, err := r.Disks.Probe(ctx, device)
	switch {
	case err != nil:
		return r.impatient(ctx, v, device, dir, unreadable+": blkid cannot read it: "+err.Error())
	case c != Content{}:
		r.say(v, "it was all zero, and blkid finds something on it now: it is looked at once more")
		return false, nil
	}
	return r.remove(ctx, v, device, dir, "it was never written to: every byte is zero")
}

// judge decides what to do with a mounted volume.
func (r *Reaper) judge(ctx context.Context, v *Volume, device, dir string) (gone bool, err error) {
	f, err := look(dir)
	if err != nil {
		return r.impatient(ctx, v, device, dir, unreadable+": it cannot be read: "+err.Error())
	}
	used, known, err := r.Files.Inodes(device, dir)
	if err != nil {
		return r.impatient(ctx, v, device, dir, unreadable+": its inodes cannot be counted: "+err.Error())
	}
	switch {
	case f.closed && !known:
		return r.keep(ctx, v, device, dir, unreadable+": it has a directory lost+found, and its file system does not tell whether that is empty")
	case known && used > f.entries:
		return r.keep(ctx, v, device, dir, nameless+fmt.Sprintf(": its file system has %d files that no directory names: look at it with fsck -n", used-f.entries))
	case len(f.strange) > 0:
		return r.keep(ctx, v, device, dir, strangeFiles+": it has files that belong to no spool or are damaged: "+filepath.ToSlash(below(dir, f.strange[0])))
	}
	for _, s := range f.spools {
		a, err := r.Adoption(ctx, s)
		if err != nil {
			return r.impatient(ctx, v, device, dir, notAdopted+": the collector cannot be asked: "+err.Error())
		}
		if a.State != "delivered" {
			why := notAdopted + ": spool " + below(dir, s) + " is not adopted yet"
			if a.Err != "" {
				why += ": " + a.Err
			}
			if a.State != "delivering" {
				return r.impatient(ctx, v, device, dir, why)
			}
			r.say(v, why)
			return false, nil
		}
	}
	for _, s := range f.spools {
		p, err := r.Prove(ctx, s)
		switch {
		case err != nil:
			return r.impatient(ctx, v, device, dir, notAudited+": spool "+below(dir, s)+": the destinations cannot be audited: "+status.Clean(err.Error())) // tags have many readers
		case !p.Complete && p.Lasting:
			return r.keep(ctx, v, device, dir, notAudited+": spool "+below(dir, s)+": "+p.Why)
		case !p.Complete:
			return r.impatient(ctx, v, device, dir, notAudited+": spool "+below(dir, s)+": "+p.Why)
		}
	}
	if len(f.spools) == 0 {
		return r.remove(ctx, v, device, dir, "it has no files")
	}
	return r.remove(ctx, v, device, dir, fmt.Sprintf("collector and auditor confirm that all %d spools are at every destination", len(f.spools)))
}

// impatient records why a volume is not delivered. After Patience it releases the volume, so that others can be adopted.
func (r *Reaper) impatient(ctx context.Context, v *Volume, device, dir, why string) (gone bool, err error) {
	if ctx.Err() != nil { // the error says nothing about the volume
		return false, ctx.Err()
	}
	if r.Now().Sub(v.Attached.Since) >= r.Patience {
		return r.keep(ctx, v, device, dir, why)
	}
	r.say(v, why)
	return false, r.tag(ctx, v, adopting, why)
}

// keep marks a volume as kept, with the reason, and releases it.
func (r *Reaper) keep(ctx context.Context, v *Volume, device, dir, why string) (gone bool, err error) {
	if err := r.tag(ctx, v, kept, why); err != nil {
		return false, err
	}
	if err := r.Mounts.Unmount(device, dir); err != nil {
		return false, fmt.Errorf("unmount, to let go of it: %w", err)
	}
	if err := r.detach(ctx, v); err != nil {
		return false, err
	}
	r.Log.Warn("reaper: a volume is kept, since it is not proven to be delivered; it may hold the only copy of records, so do not delete it before its reason is clear",
		"volume", v.ID, "why", why, "again_in", r.Retry)
	return true, nil
}

// remove deletes a volume after a proof. The order ensures that nobody can have written to the volume since the proof: this
// instance holds it until it is detached, and EC2 deletes no volume that an instance holds.
func (r *Reaper) remove(ctx context.Context, v *Volume, device, dir, why string) (gone bool, err error) {
	if err := r.Mounts.Unmount(device, dir); err != nil {
		return false, fmt.Errorf("unmount, to delete it: %w", err)
	}
	if err := r.tag(ctx, v, delivered, why); err != nil {
		return false, err
	}
	if err := r.detach(ctx, v); err != nil {
		return false, err
	}
	return true, r.delete(ctx, v, why)
}

// delete deletes a volume that is being detached. If another instance attaches the volume first, that instance decides.
func (r *Reaper) delete(ctx context.Context, v *Volume, why string) (err error) {
	for range deleteTries {
		switch err = r.Keeper.Delete(ctx, v.ID); {
		case err == nil, errors.Is(err, ErrGone):
			r.Log.Info("reaper: deleted a volume after the proof", "volume", v.ID, "proof", why)
			return nil
		}
		if err := r.Pause(ctx, detachPause); err != nil {
			return err
		}
		all, lerr := r.Lister.Volumes(ctx)
		i := slices.IndexFunc(all, func(x Volume) bool { return x.ID == v.ID })
		if lerr == nil && i >= 0 && all[i].Attached != nil && all[i].Attached.Instance != r.Instance {
			return nil
		}
	}
	return fmt.Errorf("delete: %w; it is proven again later", err)
}

const (
	// deleteTries times detachPause is how long a detachment may take; after that, the volume is proven again.
	deleteTries = 15
	detachPause = 4 * time.Second
)

// detach begins to detach a volume. It returns no error if the volume is gone or already free.
func (r *Reaper) detach(ctx context.Context, v *Volume) error {
	err := r.Attacher.Detach(ctx, v.ID, v.Attached.Device)
	if err != nil && !errors.Is(err, ErrGone) {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}
