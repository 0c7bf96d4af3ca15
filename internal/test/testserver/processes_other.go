//go:build !unix

package testserver

// Stop kills the server. Idempotent.
func (s *SSHD) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
		s.cmd = nil
	}
}

// Pause needs a system with SIGSTOP.
func (s *SSHD) Pause() { panic("testserver: no SIGSTOP on this system") }

// Resume needs a system with SIGCONT.
func (s *SSHD) Resume() { panic("testserver: no SIGCONT on this system") }
