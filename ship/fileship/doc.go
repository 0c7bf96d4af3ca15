// Package fileship stores objects as files below a directory: a local disk, NFS, Amazon EFS, or whatever the system
// mounts. It is the destination to begin with, and gives the same guarantees as the others:
//
//   - An object is written to `_tmp/<spool>/`, fsynced, read back and compared with its SHA-256, and only then linked to
//     its name, so that a key never shows partial content.
//   - link(2) fails if the name is taken, so that nothing is ever overwritten, also by another process or host.
//   - The directory, and every directory that was created above it, is fsynced before Put returns: the object survives
//     a power cut of the file server as far as that keeps its fsync promise.
//
// Where the file system has no hard links, or directories cannot be synced, Put does the next best thing and says so in
// Degraded of the [ship.Receipt]: "no-hardlink" (published by a rename that cannot overwrite), "no-exclusive-rename" (published by a
// look followed by a rename: safe against this process, not against a second one that writes the same key at that very
// moment), "no-dir-fsync" (the name may be lost in a power cut), "no-read-back" (switched off by Options).
//
// Put ends between blocks of 1 MiB when its context does; a system call that never returns, on a hard-mounted NFS whose
// server is gone, cannot be ended by any process. Mount NFS with softerr and a timeo to bound that.
package fileship
