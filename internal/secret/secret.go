// Package secret judges the modes of files that hold secrets.
package secret

import (
	"fmt"
	"os"
	"runtime"

	"github.com/penstock-go/penstock/internal/shell"
)

// Exposed names the files with secrets that every account of this machine can read, each with the cure; "" is no file. They
// are used all the same: in a container, where the orchestrator mounts secrets readable for all, nobody else is there to
// read them, and a service that refused would stop to protect nobody. A group may read them: that is how an orchestrator
// gives a file to a service, so the cure leaves the group's rights as they are. Unlike ssh, which refuses, nobody sits in front of it who could mend the mode.
func Exposed(files ...string) (warnings []string) {
	if runtime.GOOS == "windows" { // its mode bits say nothing
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
