// Package status shows the state of a running service: the numbers of its classes, listeners, spools, destinations and
// disks, what is wrong, and how to fix it.
//
// A [Watch] gathers everything from a [drain.Drainer] into one [Snapshot], which is plain data. All views come from it: the
// page and /status.json (Watch.Handler), a table for terminals ([Snapshot.WriteTable]), and the metrics of package monitor.
// Its JSON uses the terms of ledgers and reports.
//
// A Snapshot holds no secret: credentials in error texts and addresses are removed. Nothing here changes the service.
//
// # The way through the files
//
// watch.go is the Watch. snapshot.go, class.go and senders.go have the types of a Snapshot, gather.go gathers it, survey.go
// queries the disks, which volume_unix.go identifies. ring.go and history.go store the last hour, course.go shows it. trouble.go
// decides what needs attention, cure.go what to do about it, and adoptions.go which adoptions take too long. page.go makes the
// page from page/page.html, with the charts of chart.go, the functions of funcs.go and the number formats of words.go; table.go
// makes the table. scrub.go makes texts safe to show.
package status
