package main

import "context"

// Disks are the block devices of this host.
type Disks interface {
	// Find returns the device of a volume. It recognises the device by its serial number, never by the name under which it was
	// attached. fs.ErrNotExist: there is none (yet).
	Find(volume string) (device string, err error)
	// Probe returns what is on a device.
	Probe(ctx context.Context, device string) (Content, error)
	// Zero reads a device from an offset for a limited time, and returns the next offset to read. It stops at the first nonzero
	// byte (zero is false) and at the end of the device (done is true).
	Zero(ctx context.Context, device string, from int64) (next int64, done, zero bool, err error)
}

// Mounts are the mounts of this host.
type Mounts interface {
	// At lists where a device is mounted.
	At(device string) ([]string, error)
	// Mount mounts a device read-only at a directory named after the volume. It creates the directory if necessary.
	Mount(device string, c Content, dir string) error
	// Unmount unmounts dir, if something is mounted there, and removes it if it is empty. It returns an error as long as any
	// process, in any namespace, still has the device open.
	Unmount(device, dir string) error
}

// Files inspects mounted file systems.
type Files interface {
	// Inodes returns how many inodes are in use, not counting those that every file system of this kind has. known is false if
	// this kind of file system does not report that. The file system of device is mounted at dir.
	Inodes(device, dir string) (used uint64, known bool, err error)
}

// Content is what blkid finds on a device.
type Content struct {
	// FileSystem is the type of the file system, "" if there is none.
	FileSystem string
	// Signature is any other signature: a partition table, a RAID, or several signatures at once.
	Signature string
}

// mountable are the file systems that a reaper mounts. Volumes with other file systems are left to an operator.
var mountable = map[string]bool{"ext4": true, "xfs": true}
