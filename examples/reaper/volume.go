package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Volume is an EBS volume of the fleet, as EC2 last described it. The description may be out of date.
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
	Device   string // the device name of the attachment: /dev/sdg
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
	// adopting: an instance has attached it, and the collector there delivers it.
	adopting = "adopting"
	// kept: the volume needs an operator, or more time. tagReason says why.
	kept = "kept"
	// delivered: proven a moment ago. EC2 lets a reaper delete no other volume. The tag alone proves nothing to another reaper,
	// since the volume may have been used in the meantime.
	delivered = "delivered"
)

// The EC2 errors on which a reaper acts. After any other error nothing is known, and the next pass tries again.
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

// Attacher attaches and detaches volumes. EC2 lets one of several AttachVolume calls win, which decides between reapers.
type Attacher interface {
	Attach(ctx context.Context, volume, device string) error
	Detach(ctx context.Context, volume, device string) error
}

// Keeper tags and deletes volumes.
type Keeper interface {
	Tag(ctx context.Context, volume string, tags map[string]string) error
	Delete(ctx context.Context, volume string) error
}

// note returns a value of tagReason: when, which instance, and why. It replaces characters that EC2 does not accept in every
// region.
func note(at time.Time, instance, why string) string {
	s := at.UTC().Format(time.RFC3339) + " " + instance + ": " + why
	s = strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" +-=._:/@", r)) {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 255)] // the most that EC2 accepts
}

// reasons are the causes for which volumes are kept. The text of a note begins with one of them. Metrics and alarms name them.
var reasons = []string{notMountable, notMounted, notEmpty, nameless, strangeFiles, unreadable, notAdopted, notAudited, otherReason}

const (
	notMountable = "signature"  // blkid finds something that is not mounted
	notMounted   = "mount"      // the kernel refuses to mount it
	notEmpty     = "content"    // no signature, but not all zero
	nameless     = "nameless"   // files without a name
	strangeFiles = "strange"    // files of no spool
	unreadable   = "unreadable" // a directory or a file cannot be read
	notAdopted   = "adoption"   // the collector has not delivered it
	notAudited   = "audit"      // the auditor cannot prove it
	otherReason  = "other"      // written by an operator or another version
)

// reason returns which of the reasons a note begins with.
func (v *Volume) reason() string {
	if parts := strings.SplitN(v.Tags[tagReason], ": ", 3); len(parts) == 3 && slices.Contains(reasons, parts[1]) {
		return parts[1]
	}
	return otherReason
}

// noted returns when a volume was tagged, zero if it was not.
func (v *Volume) noted() time.Time {
	at, _, _ := strings.Cut(v.Tags[tagReason], " ")
	t, _ := time.Parse(time.RFC3339, at)
	return t
}
