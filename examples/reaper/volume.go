package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Volume is an EBS volume of the fleet, as EC2 last described it. A description may be older than what has happened since.
type Volume struct {
	ID      string
	Zone    string
	State   string // creating, available, in-use, deleting, deleted, error
	Created time.Time
	Tags    map[string]string
	// Attached is nil if no instance holds the volume.
	Attached *Attachment
}

// Attachment says which instance holds a volume.
type Attachment struct {
	Instance string
	Device   string // under which it was attached: /dev/sdg
	State    string // attaching, attached, busy, detaching, detached
	Since    time.Time
}

// The tags of a volume. The policy of the fleet lets a reaper write the last three only.
const (
	tagFleet  = "penstock:fleet"
	tagState  = "penstock:state"
	tagReason = "penstock:reason"
	tagSince  = "penstock:since" // when a reaper first took it
)

// The values of tagState.
const (
	// adopting: an instance has attached it and its collector delivers it.
	adopting = "adopting"
	// kept: it needs an operator, or more time. tagReason says why.
	kept = "kept"
	// delivered: proven a moment ago. EC2 deletes no other volume for a reaper. By itself the tag proves nothing to the next
	// reaper, since the volume may have been used in the meantime.
	delivered = "delivered"
)

// The answers of EC2 that a reaper decides by. Every other error means that nothing is known, and that the next pass looks again.
var (
	// ErrGone: there is no such volume.
	ErrGone = errors.New("the volume does not exist")
	// ErrTaken: the volume is not free any more.
	ErrTaken = errors.New("an instance holds the volume")
	// ErrDevice: the name of the device is in use.
	ErrDevice = errors.New("the device name is in use")
	// ErrFull: the instance cannot hold more volumes.
	ErrFull = errors.New("the instance has as many volumes as it can have")
)

// Lister finds volumes.
type Lister interface {
	// Volumes lists the volumes of the fleet in the instance's zone.
	Volumes(ctx context.Context) ([]Volume, error)
}

// Attacher moves volumes. EC2 lets one of several AttachVolume calls win, and that is what decides between reapers.
type Attacher interface {
	Attach(ctx context.Context, volume, device string) error
	Detach(ctx context.Context, volume, device string) error
}

// Keeper decides about volumes.
type Keeper interface {
	Tag(ctx context.Context, volume string, tags map[string]string) error
	Delete(ctx context.Context, volume string) error
}

// note is the value of tagReason: when, which instance, and why. Characters that EC2 does not take in every region are replaced.
func note(at time.Time, instance, why string) string {
	s := at.UTC().Format(time.RFC3339) + " " + instance + ": " + why
	s = strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" +-=._:/@", r)) {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 255)] // as many as EC2 takes
}

// reasons are why volumes are kept, as they begin the text of a note. Metrics and alarms name them.
var reasons = []string{notMountable, notMounted, notEmpty, nameless, strangeFiles, unreadable, notAdopted, notAudited, otherReason}

const (
	notMountable = "signature"  // what blkid finds is not mounted
	notMounted   = "mount"      // the kernel refuses it
	notEmpty     = "content"    // it has no signature, but is not zero
	nameless     = "nameless"   // files without a name
	strangeFiles = "strange"    // files of no spool
	unreadable   = "unreadable" // a directory or a file cannot be read
	notAdopted   = "adoption"   // the collector has not delivered it
	notAudited   = "audit"      // the auditor does not prove it
	otherReason  = "other"      // an operator's, or another version's
)

// reason returns which of the reasons a note has.
func (v *Volume) reason() string {
	if parts := strings.SplitN(v.Tags[tagReason], ": ", 3); len(parts) == 3 && slices.Contains(reasons, parts[1]) {
		return parts[1]
	}
	return otherReason
}

// noted is when a volume was tagged, zero if it was not.
func (v *Volume) noted() time.Time {
	at, _, _ := strings.Cut(v.Tags[tagReason], " ")
	t, _ := time.Parse(time.RFC3339, at)
	return t
}
