// Package mounter mounts the volumes of a reaper, which has no privileges itself.
//
// Mounting needs CAP_SYS_ADMIN, in the mount namespace of the host, since the collector must see what is mounted: whoever does that
// can be given almost none of systemd's protections. So it is a program of its own, which does nothing else. systemd starts it for each
// connection to a unix socket that the collector's group may use; it reads one [Request], carries it out, writes one answer, and
// ends.
//
// The program trusts nobody who connects. All that a request can ask for is that an EBS volume of this host is mounted read-only,
// without devices, set-user-id programs and programs at all, at the directory of the volume's name below the directory of the
// orphans, or that it is unmounted there. The device is found by its serial number, and the directory may not be a symbolic link.
//
// host.go finds devices, serve.go is the program's side of the connection, and client.go the reaper's.
package mounter
