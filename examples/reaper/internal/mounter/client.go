package mounter

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Client sends requests to the mount program.
type Client struct {
	// Dial opens a connection, which serves one request.
	Dial func() (net.Conn, error)
}

// NewClient returns a client of the mount program that listens on a unix socket.
func NewClient(socket string) *Client {
	return &Client{func() (net.Conn, error) { return net.DialTimeout("unix", socket, 10*time.Second) }}
}

// answerTime is how long a request may take. Replaying a large journal takes minutes.
const answerTime = 10 * time.Minute

// Mount mounts a volume, whose file system is of the given kind, at the directory named after it.
func (c *Client) Mount(volume, kind string) error { return c.ask(Request{"mount", volume, kind}) }

// Unmount unmounts a volume. syscall.EBUSY: a process has files open there.
func (c *Client) Unmount(volume string) error { return c.ask(Request{Do: "unmount", Volume: volume}) }

func (c *Client) ask(q Request) error {
	conn, err := c.Dial()
	if err != nil {
		return fmt.Errorf("mount service: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return fmt.Errorf("mount service: %w", err)
	}
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return fmt.Errorf("mount service: %w", err)
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxLine)).ReadBytes('\n')
	var a answer
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	switch {
	case err != nil:
		return fmt.Errorf("mount service: %w", err)
	case a.Error != "":
		return &refusal{a.Error, syscall.Errno(a.Errno)}
	}
	return nil
}

// refusal is an error that the mount program returned.
type refusal struct {
	text  string
	errno syscall.Errno
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

// Unwrap returns the kernel's error, if there is one.
func (r *refusal) Unwrap() error {
	if r.errno == 0 {
		return nil
	}
	return r.errno
}
