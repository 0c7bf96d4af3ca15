//go:build !unix

package status

import "path/filepath"

// volumeOf identifies the file system of a directory; "" if that is unknown.
func volumeOf(dir string) string { return filepath.VolumeName(dir) }
