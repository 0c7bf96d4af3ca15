//go:build unix

package testserver

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Stop kills the server and every connection's process. Idempotent.
func (s *SSHD) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	// First the listener is stopped, so that it makes no more children while they are looked for.
	s.signal(syscall.SIGSTOP)
	s.signal(syscall.SIGKILL)
	<-s.ended
	s.cmd = nil
}

// Pause stops the server and every connection's process where they are (SIGSTOP): peers see silence.
func (s *SSHD) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.signal(syscall.SIGSTOP)
	}
}

// Resume ends a Pause.
func (s *SSHD) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.signal(syscall.SIGCONT)
	}
}

// signal signals the server and all its descendants, parents before children. (They are not a process group: sshd puts each
// connection's process in its own session.)
func (s *SSHD) signal(sig syscall.Signal) {
	var done []int
	for pids := []int{s.cmd.Process.Pid}; len(pids) > 0; {
		pid := pids[0]
		pids = pids[1:]
		kids := children(pid) // before the signal: a killed parent's children are nobody's
		if !slices.Contains(done, pid) {
			_ = syscall.Kill(pid, sig)
			done = append(done, pid)
			kids = append(kids, children(pid)...)
		}
		for _, k := range kids {
			if !slices.Contains(done, k) {
				pids = append(pids, k)
			}
		}
	}
}

// children lists the processes whose parent is pid, where there is a /proc.
func children(pid int) (kids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		// pid (comm) state ppid …; comm may hold anything, also parentheses.
		text := string(b)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if kid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat))); err == nil {
			kids = append(kids, kid)
		}
	}
	return kids
}
