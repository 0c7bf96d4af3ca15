package mounter

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"syscall"
)

// Request is one line of JSON.
type Request struct {
	Do         string `json:"do"` // mount or unmount
	Volume     string `json:"volume"`
	FileSystem string `json:"file_system,omitempty"` // of a mount: ext4 or xfs
}

// answer is one line of JSON. No error means that the request is carried out now or was before.
type answer struct {
	Error string `json:"error,omitempty"`
	Errno uint   `json:"errno,omitempty"` // the kernel's error
}

// Server carries out requests.
type Server struct {
	Host Host
	Dir  string // the directory of the orphans, which only root can replace
}

// maxLine bounds a request and an answer.
const maxLine = 4 << 10

// volumeID matches the id of a volume. The id is also a directory name, so it must not contain any other path.
var volumeID = regexp.MustCompile(`^vol-[0-9a-f]{1,32}$`)

// Serve reads one request, carries it out, and writes the answer. It returns only errors of the connection.
func (s *Server) Serve(r io.Reader, w io.Writer) error {
	line, err := bufio.NewReader(io.LimitReader(r, maxLine)).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	var a answer
	if err := s.do(line); err != nil {
		a.Error = err.Error()
		var errno syscall.Errno
		if errors.As(err, &errno) {
			a.Errno = uint(errno)
		}
	}
	return json.NewEncoder(w).Encode(a)
}

func (s *Server) do(line []byte) error {
	var q Request
	if err := json.Unmarshal(line, &q); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if !volumeID.MatchString(q.Volume) {
		return fmt.Errorf("%q is no volume", q.Volume)
	}
	device, err := s.Host.Find(q.Volume)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.Dir, q.Volume)
	switch {
	case q.Do == "unmount":
		return s.Host.unmount(device, dir)
	case q.Do == "mount" && (q.FileSystem == "ext4" || q.FileSystem == "xfs"):
		return s.Host.mount(device, q.FileSystem, dir)
	}
	return fmt.Errorf("request: %q of %q is not done here", q.Do, q.FileSystem)
}
