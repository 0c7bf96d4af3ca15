// Package mounter mounts volumes for a reaper, which has no privileges itself.
//
// Mounting needs CAP_SYS_ADMIN in the mount namespace of the host, since the collector must see the mounts. A program that
// mounts can use almost none of systemd's protections, so the mount program is separate and does nothing else. systemd starts
// it for each connection to a unix socket that the collector's group may use. It reads one [Request], carries it out, writes
// one answer, and exits.
//
// The program trusts no client. A request can only have an EBS volume of this host mounted, with the options ro, nodev, nosuid
// and noexec, at the directory named after the volume below the directory of the orphans, or have it unmounted there. The
// device is found by its serial number, and the directory may not be a symbolic link.
//
// host.go finds devices, serve.go is the server side of the connection, and client.go the reaper's side.
package mounter
