package main

import (
	"fmt"
	"log/slog"
	"strings"
)

// descriptors divides RLIMIT_NOFILE. Package ingest reserves a quarter of the limit, at least 64, and lets the listeners share
// the rest (see ingest.TCPOptions.MaxConns). The collector knows more: how many classes and destinations need descriptors, and
// how many listeners there will be once every class is up. It reserves a share for each listener, so that one that starts late
// has its own.
type descriptors struct {
	limit int // 0: none
	conns int // for each stream listener
	http  int // for -http
}

const (
	// maxConns is the largest number of connections of a listener.
	maxConns = 4096
	// perClassFiles and perDestFiles estimate how many files a class, and each destination of a class, have open at a time:
	// segments, index, directories being synced, connections to the server.
	perClassFiles, perDestFiles, baseFiles = 16, 12, 32
)

// shareDescriptors divides limit. It returns an error if some listener would get no connection.
func shareDescriptors(c *config, limit int) (descriptors, error) {
	d := descriptors{limit: limit, conns: maxConns, http: statusConns}
	if limit <= 0 {
		return d, nil
	}
	streams := 0
	for _, l := range c.listen {
		if !strings.HasPrefix(l.url, "udp:") && !strings.HasPrefix(l.url, "unixgram:") {
			streams++
		}
	}
	kept := max(64, limit/4, baseFiles+len(c.classes)*(perClassFiles+len(c.dests)*perDestFiles))
	d.http = min(statusConns, max(4, limit/16))
	if streams > 0 {
		d.conns = min(maxConns, (limit-kept-d.http)/streams)
	}
	if d.conns < 1 || kept > limit {
		return d, fmt.Errorf("%w: RLIMIT_NOFILE is %d: %d classes with %d destinations need about %d descriptors, and each of %d stream listeners some for connections: raise it (ulimit -n, LimitNOFILE=)",
			errFlags, limit, len(c.classes), len(c.dests), kept, streams)
	}
	return d, nil
}

// log warns about limits that the operator may not expect.
func (d descriptors) log(log *slog.Logger) {
	if d.conns < maxConns {
		log.Warn("RLIMIT_NOFILE limits the connections of each listener: if they are too few, raise it (ulimit -n, LimitNOFILE=)",
			"connections", d.conns, "descriptors", d.limit)
	}
}
