// Package fileship stores objects as files below a directory: a local disk, NFS, Amazon EFS, or whatever the system
// mounts. It is the destination to begin with, and gives the same guarantees as the others:
//
//   - An object is written to `_tmp/<spool>/`, fsynced, read back and compared with its SHA-256, and only then linked to
//     its name, so that a key never shows partial content.
//   - link(2) fails if the name is taken, so that nothing is ever overwritten, also by another process or host.
//   - The directory, and every directory that was created above it, is fsynced before Put returns: the object survives a power loss
//     of the file server, provided that its fsync does what it promises.
//
// If the file system has no hard links, or directories cannot be synced, Put does the next best thing and says so in Degraded of the
// [ship.Receipt]: "no-hardlink" (published by a rename that cannot overwrite), "no-exclusive-rename" (published by a check followed
// by a rename, which is safe within this process, but not against another one that writes the same key at the same moment),
// "no-dir-fsync" (the name may be lost in a power loss), "no-read-back" (switched off by Options).
//
// When its context ends, Put stops before the next block of 1 MiB. But no process can end a system call that never returns, such as
// one on a hard-mounted NFS whose server is gone. Mount NFS with softerr and a timeo to limit that.
package fileship
