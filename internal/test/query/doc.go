// Package query tests that the real engines can query the objects at a destination as they are, with the statements that
// internal/docs/guide/query.md shows. It contains only tests.
package query
