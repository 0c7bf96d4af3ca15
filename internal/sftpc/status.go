package sftpc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ErrConnectionLost: the channel ended before the answer arrived.
var ErrConnectionLost = errors.New("sftp: connection lost")

// ErrUnsupported: the server does not know the request.
var ErrUnsupported error = &StatusError{Code: 8, Message: "operation unsupported"}

// StatusError is an error answer of a server.
type StatusError struct {
	Code    uint32
	Message string
}

// codes are the names of the status codes: those of version 3, and those of later versions that servers send even with version
// 3.
var codes = map[uint32]string{
	1: "end of file", 2: "no such file", 3: "permission denied", 4: "failure", 5: "bad message", 6: "no connection",
	7: "connection lost", 8: "operation unsupported", 9: "invalid handle", 10: "no such path", 11: "file already exists",
	12: "write protect", 13: "no media", 14: "no space on filesystem", 15: "quota exceeded", 19: "not a directory",
}

// Error names the status, and adds the server's message.
func (e *StatusError) Error() string {
	name, ok := codes[e.Code]
	if !ok {
		name = "unknown status"
	}
	return fmt.Sprintf("sftp: %.200q (%d, %s)", e.Message, e.Code, name)
}

// Is maps the codes that have the same meaning everywhere to errors for errors.Is. Code 4, failure, is not mapped: some servers
// send it even for a file that does not exist.
func (e *StatusError) Is(target error) bool {
	switch target {
	case io.EOF:
		return e.Code == 1
	case fs.ErrNotExist:
		return e.Code == 2 || e.Code == 10
	case fs.ErrPermission:
		return e.Code == 3 || e.Code == 12
	case fs.ErrExist:
		return e.Code == 11
	case ErrUnsupported:
		return e.Code == 8
	}
	return false
}
