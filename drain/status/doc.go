// Package status shows how a running service is doing: the numbers of its classes, listeners, spools, destinations and
// disks, what is wrong, and how to fix it.
//
// A [Watch] gathers everything from a [drain.Drainer] into one [Snapshot], which is plain data. It is the one source of every
// view: the page and /status.json (Watch.Handler), a table for terminals ([Snapshot.WriteTable]), and the metrics of package
// monitor. Its JSON uses the words of ledgers and reports.
//
// A Snapshot holds no secret: credentials in error texts and addresses are removed. Nothing here changes the service.
package status
