//go:build !linux

package ingest

// readUDPErrors knows nothing here.
func readUDPErrors() udpErrors { return udpErrors{} }
