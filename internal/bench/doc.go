// Package bench holds the comparisons with other software, each a command of its own:
//
//   - peers: durable appends, beside other logs for Go and the raw disk
//
// It is a module of its own, so that what is compared never becomes a dependency of who embeds Penstock. Figures taken
// with it stand in internal/docs/performance.md.
package bench
