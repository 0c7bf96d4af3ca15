//go:build race

package ingest

// raced: the race detector makes sync.Pool forget things, so that allocations cannot be counted.
const raced = true
