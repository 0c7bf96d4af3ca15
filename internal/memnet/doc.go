// Package memnet provides stream connections in memory, for tests under fake time (testing/synctest), which does not support
// real sockets. They behave like Linux's TCP in all respects on which listeners depend: a bounded receive buffer whose bytes
// count as acknowledged, half-closes, resets, and a closed reading side that refuses further data.
package memnet
