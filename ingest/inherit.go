package ingest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Inherited returns the sockets that this process was started with under a name, as by systemd's socket activation
// (sd_listen_fds(3)): LISTEN_FDS of them from descriptor 3 on, named by LISTEN_FDNAMES, meant for the process LISTEN_PID.
// They stay open for the life of the process.
//
// With sockets that outlive the process, a restart loses nothing: what arrives meanwhile is queued in them.
func Inherited(name string) ([]*os.File, error) {
	all, err := inherited()
	if err != nil {
		return nil, err
	}
	if files := all[name]; len(files) > 0 {
		return files, nil
	}
	var names []string
	for n := range all {
		names = append(names, strconv.Quote(n))
	}
	slices.Sort(names)
	return nil, fmt.Errorf("ingest: no socket named %q was inherited (FileDescriptorName= of the systemd unit), there are: [%s]",
		name, strings.Join(names, " "))
}

// inherited keeps the files: one that is collected would close its descriptor.
var inherited = sync.OnceValues(func() (map[string][]*os.File, error) { return parseInherited(os.Getenv, os.Getpid()) })

const (
	firstInherited = 3    // SD_LISTEN_FDS_START
	maxInherited   = 1024 // no sane unit has more
)

func parseInherited(getenv func(string) string, pid int) (map[string][]*os.File, error) {
	all := make(map[string][]*os.File)
	n := getenv("LISTEN_FDS")
	if n == "" {
		return all, nil
	}
	if p := getenv("LISTEN_PID"); p != strconv.Itoa(pid) {
		return all, nil // they are for another process, a parent of this one
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 0 || count > maxInherited {
		return nil, fmt.Errorf("ingest: LISTEN_FDS=%q: want a number of sockets", n)
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	if names[0] == "" && len(names) == 1 {
		names = slices.Repeat([]string{"unknown"}, count) // as in sd_listen_fds_with_names(3)
	}
	if len(names) != count {
		return nil, fmt.Errorf("ingest: LISTEN_FDNAMES has %d names for %d sockets", len(names), count)
	}
	for i, name := range names {
		fd := firstInherited + i
		closeOnExec(fd) // a child that kept them would keep the port taken
		all[name] = append(all[name], os.NewFile(uintptr(fd), name))
	}
	return all, nil
}
