// Package wait contains the ways in which this module waits: for a time that a context can cut short ([Sleep]), for a time or
// an event, whichever comes first ([For], [Receive]), and for the next change of a state ([Signal]).
//
// Every function releases its timer before it returns.
package wait
