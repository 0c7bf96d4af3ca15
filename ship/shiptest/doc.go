// Package shiptest tests destinations. [Run] is the conformance suite that every implementation of ship.Destination must
// pass, those in this module and your own. [Faulty] makes a destination fail as planned. [Memory] is a destination in memory.
// A driver's test is three lines:
//
//	func TestConformance(t *testing.T) {
//		shiptest.Run(t, func(t *testing.T) ship.Destination { return open(t) })
//	}
package shiptest
