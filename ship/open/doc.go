// Package open turns a URL into a destination, and reads the records that were delivered there.
//
//   - [Destination] opens the destination that a URL names, with the driver of its scheme: s3://logs/ingest,
//     sftp://ingest@idc.example/srv/ingest, file:///srv/ingest. The package of each driver documents its URLs.
//   - [Forms] describes the URLs that are accepted, for flag texts and messages.
//   - [Records] reads every record of one class at a destination, or of all classes.
//
// No other package imports all drivers, and with them the AWS SDK and an SSH client. A program that needs only one kind of
// destination imports the package of that driver instead. A new driver has a package of its own and a line in the table of
// this one.
package open
