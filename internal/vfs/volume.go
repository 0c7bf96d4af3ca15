package vfs

// Volume says which place a directory is, as far as the system tells: zero members are not known. A copy of the directory
// differs in at least one of those that are known to both; a volume that is mounted elsewhere, by another host or
// container, does not. A block-level copy of the whole volume cannot be told from it.
type Volume struct {
	UUID  string `json:"uuid,omitempty"`  // of the file system
	Inode uint64 `json:"inode,omitempty"` // of the directory
	Birth int64  `json:"birth,omitempty"` // when the directory was created, Unix nanoseconds
}

// Differs reports whether both are known and speak of different places.
func (v *Volume) Differs(o *Volume) bool {
	if v == nil || o == nil {
		return false
	}
	return v.UUID != "" && o.UUID != "" && v.UUID != o.UUID ||
		v.Inode != 0 && o.Inode != 0 && v.Inode != o.Inode ||
		v.Birth != 0 && o.Birth != 0 && v.Birth != o.Birth
}

// Placer is implemented by file systems that know the places of their directories.
type Placer interface {
	// Volume returns the place of a directory, nil if nothing is known of it.
	Volume(dir string) *Volume
}

// VolumeOf returns the place of a directory, nil if nothing is known of it.
func VolumeOf(fsys FS, dir string) *Volume {
	if p, ok := fsys.(Placer); ok {
		return p.Volume(dir)
	}
	return nil
}
