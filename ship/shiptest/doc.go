// Package shiptest proves destinations: [Run] is the conformance suite that every implementation of ship.Destination
// passes, the ones in this module and your own; [Faulty] makes any of them fail on plan; [Memory] is one that lives in
// memory. A driver's test is three lines:
//
//	func TestConformance(t *testing.T) {
//		shiptest.Run(t, func(t *testing.T) ship.Destination { return open(t) })
//	}
package shiptest
