// Package senders tests the protocols that acknowledge with clients of other projects: go-lumber, which Beats use, and Fluent's.
// It is a module of its own, so that nobody else has their dependencies.
package senders
