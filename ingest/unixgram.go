package ingest

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
)

// access determines which users may send to a unix socket: connect(2) and sendto(2) require write permission to its file.
type access struct {
	mode     fs.FileMode // 0: as the umask permits
	uid, gid int         // -1: this process's
}

// access returns the access that the options request. It looks names up, so that a wrong name is reported as a mistake in
// the options.
func (o *UDPOptions) access() (a access, err error) {
	a = access{mode: o.Mode, uid: -1, gid: -1}
	if o.Owner != "" {
		if a.uid, err = number(o.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}); err != nil {
			return a, fmt.Errorf("ingest: Owner %q: %w", o.Owner, err)
		}
	}
	if o.Group != "" {
		if a.gid, err = number(o.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}); err != nil {
			return a, fmt.Errorf("ingest: Group %q: %w", o.Group, err)
		}
	}
	return a, nil
}

// number returns s as an id, or the id of the account or group with that name.
func number(s string, lookup func(string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(n), nil
	}
	id, err := lookup(s)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}

func (a access) set() bool { return a.mode != 0 || a.uid >= 0 || a.gid >= 0 }

// warnAccess warns if only this process's own user can send. A program without permission, such as logger(1), loses its
// records, and many do so silently.
func warnAccess(path string, a access, log *limiter) {
	if fi, err := os.Lstat(path); err == nil && !a.set() && fi.Mode().Perm()&0o022 == 0 {
		log.log.Warn("ingest: only this process's own user can send to the unix socket; set a mode (0666, or 0660 and a group)",
			"path", path, "mode", fmt.Sprintf("%04o", fi.Mode().Perm()))
	}
}
