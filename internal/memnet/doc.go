// Package memnet has stream connections in memory, for tests under fake time (testing/synctest), which allows no real
// sockets. They behave as Linux's TCP does where listeners depend on it: a bounded receive buffer whose bytes count as
// acknowledged, half-closes, resets, and a reading side that is closed refusing what still arrives.
package memnet
