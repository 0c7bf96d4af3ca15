// Package status shows how a running service is doing: the numbers of its classes, listeners, spools, destinations and
// disks, what is wrong, and how to fix it.
//
// A [Watch] gathers everything from a [drain.Drainer] into one [Snapshot], which is plain data. It is the one source of every
// view: the page and /status.json (Watch.Handler), a table for terminals ([Snapshot.WriteTable]), and the metrics of package
// monitor. Its JSON uses the words of ledgers and reports.
//
// A Snapshot holds no secret: credentials in error texts and addresses are removed. Nothing here changes the service.
//
// # The way through the files
//
// watch.go is the Watch. snapshot.go, class.go and senders.go have what a Snapshot is, gather.go gathers it, survey.go asks the
// disks, which volume_unix.go distinguishes. ring.go and history.go remember the last hour, course.go shows it. trouble.go decides
// what needs attention, cure.go what to do about it. page.go makes the page of page/page.html, with the charts of chart.go, the
// functions of funcs.go and the words of words.go; table.go makes the table. scrub.go makes texts fit to be shown.
package status
