// Package secret judges the modes of files that hold secrets.
package secret

import (
	"fmt"
	"os"
	"runtime"

	"github.com/penstock-go/penstock/internal/shell"
)

// Exposed returns a warning, with the cure, for each of the files that every account of this machine can read; it ignores "". A
// warning does not keep a file from being used: in a container, where the orchestrator mounts secrets readable for all, nobody
// else is there to read them, and refusing would stop the service without protecting anything. A group may read the files,
// because an orchestrator gives them to a service in this way; so the cure leaves the group's rights unchanged. ssh refuses
// such files, but ssh has a user who can correct the mode at once.
func Exposed(files ...string) (warnings []string) {
	if runtime.GOOS == "windows" { // there the mode bits mean nothing
		return nil
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		if fi, err := os.Stat(file); err == nil && fi.Mode().Perm()&0o004 != 0 {
			warnings = append(warnings, fmt.Sprintf("%s can be read by every account of this machine (mode %04o): `chmod o= %s`", file, fi.Mode().Perm(), shell.Quote(file)))
		}
	}
	return warnings
}
