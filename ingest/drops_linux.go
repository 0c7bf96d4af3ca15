package ingest

import (
	"os"
	"strconv"
	"strings"
)

// readUDPErrors reads the kernel's counters and adds those of IPv4 and IPv6. A counter that cannot be read is 0.
func readUDPErrors() udpErrors {
	var e udpErrors
	if b, err := os.ReadFile("/proc/net/snmp"); err == nil {
		e = parseSNMP(string(b))
	}
	if b, err := os.ReadFile("/proc/net/snmp6"); err == nil {
		six := parseSNMP6(string(b))
		e.mem, e.sum = e.mem+six.mem, e.sum+six.sum
	}
	return e
}

// parseSNMP reads a file of pairs of lines: names, then values.
func parseSNMP(file string) (e udpErrors) {
	var names []string
	for line := range strings.Lines(file) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := 1; i < min(len(names), len(fields)); i++ {
			e.note(names[i], fields[i])
		}
		return e
	}
	return e
}

// parseSNMP6 reads a file of one name and value a line.
func parseSNMP6(file string) (e udpErrors) {
	for line := range strings.Lines(file) {
		if f := strings.Fields(line); len(f) == 2 {
			if name, ok := strings.CutPrefix(f[0], "Udp6"); ok {
				e.note(name, f[1])
			}
		}
	}
	return e
}

func (e *udpErrors) note(name, value string) {
	n, _ := strconv.ParseUint(value, 10, 64)
	switch name {
	case "MemErrors":
		e.mem = n
	case "InCsumErrors":
		e.sum = n
	}
}
