// Package backlog decides when an instance has so much to deliver that its platform should not take it.
package backlog

// Large reports whether a backlog is large enough to protect the instance: from when pending exceeds bound until it has
// fallen to half of bound, so that a backlog near the bound does not cause repeated calls of the platform. before is the
// last answer; pending and bound are in bytes.
func Large(before bool, pending, bound uint64) bool {
	if before {
		bound /= 2
	}
	return pending > bound
}
