//go:build !linux

package ingest

// readUDPErrors returns zeros: these counters exist only on Linux.
func readUDPErrors() udpErrors { return udpErrors{} }
