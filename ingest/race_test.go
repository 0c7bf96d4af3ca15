//go:build race

package ingest

// raced is true under the race detector, which makes sync.Pool drop objects, so that allocations cannot be counted.
const raced = true
