package main

import "context"

// Disks are the block devices of this host.
type Disks interface {
	// Find returns the device of a volume, which it recognises by the serial number that the device has, and never by the name
	// under which it was attached. fs.ErrNotExist: there is none (yet).
	Find(volume string) (device string, err error)
	// Probe says what is on a device.
	Probe(ctx context.Context, device string) (Content, error)
	// Zero reads a device from an offset on, for a limited time, and returns the offset that it has come to. It ends at the first
	// byte that is not zero (zero is false) and at the end of the device (done is true).
	Zero(ctx context.Context, device string, from int64) (next int64, done, zero bool, err error)
}

// Mounts are the mounts of this host.
type Mounts interface {
	// At lists where a device is mounted.
	At(device string) ([]string, error)
	// Mount mounts a device read-only at a directory that has the volume's name. It is made if it is missing.
	Mount(device string, c Content, dir string) error
	// Unmount unmounts dir, if something is mounted there, and removes it if it is empty. It returns an error as long as anything,
	// in any namespace, still has the device open.
	Unmount(device, dir string) error
}

// Files looks at a mounted file system.
type Files interface {
	// Inodes returns how many inodes are in use besides those that every file system of its kind has. known is false if this kind
	// of file system does not tell. The file system of device is mounted at dir.
	Inodes(device, dir string) (used uint64, known bool, err error)
}

// Content is what blkid finds on a device.
type Content struct {
	// FileSystem is its type, "" if there is none.
	FileSystem string
	// Signature is any other signature: of a partition table, of a RAID, or of several things at once.
	Signature string
}

// mountable are the file systems that are mounted. Others are left to an operator.
var mountable = map[string]bool{"ext4": true, "xfs": true}
