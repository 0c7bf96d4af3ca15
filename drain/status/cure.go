package status

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/segment"
)

// keptHere ends the cures of outages, because the reader's first question is how urgent it is.
const keptHere = " Until then the records wait on this host's disk."

// cure returns what to do about the failure of a destination. It checks the state first, because that decides what may be
// changed, and then the error.
func cure(state ship.State, err error) string {
	switch state {
	case ship.StateConflict:
		return "Find out who wrote the object, and move it elsewhere; do not delete it, it may be the only copy. The chain then continues by itself."
	case ship.StateFenced:
		return "Another process continues this chain. Find out which one: if it adopts a copy of this volume, let it finish, and keep this volume."
	}
	return of(err) + keptHere
}

// of returns the likely cure of an error.
func of(err error) string {
	if c := ofStore(err); c != "" {
		return c
	}
	if c := ofNet(err); c != "" {
		return c
	}
	if c := ofSystem(err); c != "" {
		return c
	}
	if ship.IsPermanent(err) {
		return "Fix what the error names; it is then tried again by itself."
	}
	return "Check the destination and the network on the way to it; it is tried again by itself."
}

// ofStore returns the cure for errors of object stores, which have a code.
func ofStore(err error) string {
	coded, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	if !ok {
		return ""
	}
	switch code := coded.ErrorCode(); {
	case strings.HasPrefix(code, "AccessDenied"), code == "Forbidden", code == "AllAccessDisabled":
		return "Grant this host's role s3:PutObject, s3:GetObject and s3:ListBucket on the bucket and its prefix, and the use of its KMS key."
	case strings.Contains(code, "Token"), strings.Contains(code, "AccessKey"), strings.HasPrefix(code, "Signature"), code == "AuthFailure":
		return "Renew the credentials: the store does not accept them."
	case code == "NoSuchBucket":
		return "Create the bucket, or correct its name and region."
	case code == "RequestTimeTooSkewed":
		return "Correct this host's clock (chronyc tracking, timedatectl): the store refuses requests that are signed for another time."
	case code == "SlowDown", code == "ServiceUnavailable", code == "InternalError", code == "RequestLimitExceeded":
		return "Wait: the store is overloaded. If that lasts, use more prefixes or fewer workers."
	}
	return ""
}

// ofNet returns the cure for errors of the network.
func ofNet(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "Renew the destination's certificate, or correct this host's clock: the certificate is not valid now."
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &verify):
		return "Check the destination's certificate: its issuer or name is not the expected one. Do not switch the check off."
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "Correct the host name, or add it to the DNS."
		}
		return "Check the DNS servers of this host: they do not answer."
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Start the server at the destination, or correct its port: nothing listens there."
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Check the route to the destination (VPN, security groups): its network is not reachable."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "Check the way to the destination (VPN, firewall, load): it does not answer in time."
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "Check the server's log and the firewalls on the way: the connection was cut."
	}
	return ""
}

// ofSystem returns the cure for errors of a file system, here or over SFTP.
func ofSystem(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "Give this service's account the right to write there."
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "Make space at the destination, or enlarge its disk. Do not delete objects that nobody has processed."
	case errors.Is(err, syscall.EROFS):
		return "Mount the destination writable again, after its disk was checked."
	case errors.Is(err, fs.ErrNotExist):
		return "Create or mount the directory at the destination."
	case errors.Is(err, syscall.EIO):
		return "Check the destination's disk: it reports input/output errors."
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "Raise the limit on open files of this service (LimitNOFILE=)."
	}
	return ""
}

// cureOfLoss has what to do about each cause of loss.
var cureOfLoss = [segment.NumCauses]string{
	segment.KernelOverflow: "Raise rcvbuf= and net.core.rmem_max, use more sockets=, or give this host more CPU: its receive buffer was full.",
	segment.Truncated:      "Raise max= of the listener, or correct the sender: datagrams were longer than that.",
	segment.FrameTooLong:   "Raise max= of the listener, or correct the sender: frames were longer than that.",
	segment.Malformed:      "Correct framing= or proxy= of the listener, or the sender: what it sends fits no frame.",
	segment.Reset:          "Look at the sender and the firewalls on the way: connections end in the middle of a frame.",
	segment.SpoolFull:      "Get the destinations to take the backlog, or raise the quota or enlarge the disk: the spool was full.",
	segment.Other:          "Use the newer version of this program that counted them: it knows their causes.",
	segment.GivenUp:        "Allow more time for the end of the process: a listener was closed before the spool had taken everything.",
	segment.Refused:        "Raise the limit on connections, or look for a sender that opens too many.",
	segment.Panicked:       "The log has the stack of each: correct the program's Framer, Transform or Route.",
}
