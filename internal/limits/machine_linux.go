package limits

import "golang.org/x/sys/unix"

// machine returns the memory of this machine in bytes.
func machine() int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return int64(uint64(s.Totalram) * uint64(s.Unit))
}
