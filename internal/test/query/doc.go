// Package query tests that what lies at a destination can be queried as it is, with the statements that README shows, by
// the real engines. It has no code of its own.
package query
