package vfs

// Volume identifies the place of a directory, as far as the system tells: zero members are unknown. A copy of the directory
// differs in at least one member that is known for both; the same volume mounted elsewhere, by another host or container, does
// not differ. A block-level copy of the whole volume cannot be distinguished from the volume.
type Volume struct {
	UUID  string `json:"uuid,omitempty"`  // of the file system
	Inode uint64 `json:"inode,omitempty"` // of the directory
	Birth int64  `json:"birth,omitempty"` // when the directory was created, Unix nanoseconds
}

// Differs reports whether both are known and are different places.
func (v *Volume) Differs(o *Volume) bool {
	if v == nil || o == nil {
		return false
	}
	return v.UUID != "" && o.UUID != "" && v.UUID != o.UUID ||
		v.Inode != 0 && o.Inode != 0 && v.Inode != o.Inode ||
		v.Birth != 0 && o.Birth != 0 && v.Birth != o.Birth
}

// Placer is implemented by file systems that can identify the places of their directories.
type Placer interface {
	// Volume returns the place of a directory, nil if nothing is known of it.
	Volume(dir string) *Volume
}

// VolumeOf returns the place of a directory, nil if it is unknown.
func VolumeOf(fsys FS, dir string) *Volume {
	if p, ok := fsys.(Placer); ok {
		return p.Volume(dir)
	}
	return nil
}
