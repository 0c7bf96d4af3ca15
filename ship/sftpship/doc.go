// Package sftpship delivers to a directory on an SFTP server: the datacenter's side of most installations.
//
//	sftp://USER@HOST[:PORT]/DIR?key=FILE&known_hosts=FILE
//
// /DIR is absolute on the server, /~/DIR is below the account's start directory. The first
// delivery creates it, with a warning in the log: if it existed before, its volume may not be mounted. The
// parameters are
//
//	known_hosts=FILE     required; hashed hosts, @cert-authority and @revoked lines are understood
//	key=FILE             private key; without it the agent at SSH_AUTH_SOCK is asked
//	cert=FILE            certificate for the key; default FILE-cert.pub beside the key, if there
//	passphrase_file=FILE the key's passphrase is in FILE; or passphrase_env=NAME, an environment variable
//	password_file=FILE   the account's password is in FILE; or password_env=NAME
//	jump=USER@HOST:PORT  a bastion to go through, with the same credentials and known_hosts
//	verify=POLICY        auto, exec or readback; see [Verify]
//	workers=N            connections at most, default 4; each carries one large upload and up to eight small operations
//	stall_timeout=30s    silence after which a peer is given up
//
// All these files are read again at each connection: correcting them needs no restart. A line of known_hosts that cannot be
// read is skipped with a warning, as ssh(1) skips it. A file with a secret that every account of this machine can read is
// used, with a warning.
//
// A password is given if the server asks for one, alone or after it has accepted the key, also as the one hidden question
// of a keyboard-interactive challenge. Codes that a person would have to read off a device cannot be given.
//
// # What a nil error of Put means
//
// The bytes were written to a temporary file under _tmp/<spool>/, synced with fsync@openssh.com, measured, and hashed:
// by sha256sum or openssl on the server, or by reading them back. Then the file was given its name by a hard link, which fails if
// the name is taken, the object was seen under its name, the directory was synced, and only then was the temporary name
// removed. Nobody ever sees part of an object under its key. Where the server cannot do one of these (OpenSSH can do them
// all), the receipt's Degraded says so:
//
//	no-fsync      the server offers no fsync: it may lose the object with its power
//	no-dir-fsync  it cannot sync directories: the same for the object's name
//	no-hardlink   published by a rename, after the key was claimed with a file created exclusively: whoever writes
//	              to the same place by other means might be overwritten
//
// # What it costs
//
// On OpenSSH a new object of up to 8 MiB costs 14 requests, plus one for each 255 KiB sent and one for each read back, in 5
// round trips: requests whose order the server keeps are sent without waiting for each other's answers. (Beyond 2 MiB, SSH's
// own window of 2 MiB for each direction adds the time in which that much at a time crosses the line.) A Put that finds
// its own object, as Drain's verification does, costs 2 round trips, a Stat 1. The first object of an hour makes the hour's
// directory and costs 3 more. Servers other than OpenSSH are not trusted to keep the order of requests; there it is about 10.
//
// # Space
//
// Where the server tells its free space, it is asked once a minute, and an upload that would leave less than 64 MiB or
// a hundredth of the file system free is refused, so that manifests, clean-up and whoever else writes there still can. A
// server that says "0 of 0 blocks" does not tell.
//
// # Temporary files
//
// An upload whose connection breaks leaves its temporary file. The next upload of the same process removes it; at the end
// of a drain that is the last manifest. Each spool removes what killed processes have left in its own directory once that is
// an hour old, when it uploads: until then no other process can tell it from an upload that is under way. Nothing removes the
// small _tmp/check-*.part of a Check that was killed, or files of a spool that uploads no more: delete them by hand.
//
// # Servers
//
// Servers were met that answer "failure" or "no such path" for a file that is not there (then its directory is listed to be
// sure), that confirm hard links and make none (then objects are published by renaming), and that leave sizes' or
// permissions' attributes out. A directory that other programs move files out of as soon as they are complete cannot be
// delivered to: the destination is parked, and its error says so, since each attempt would hand over the same file again.
//
// # Time limits
//
// Every length is checked against the server's own, every answer is bounded, and each connection is watched: no byte for
// StallTimeout, or no answer to an operation's request for AnswerTimeout, ends it.
//
// # Least privileges on the server
//
// An account of its own, without a shell, that sees one directory:
//
//	# sshd_config
//	Match User penstock
//	    ChrootDirectory /srv/penstock     # root:root 0755, as sshd demands
//	    ForceCommand internal-sftp
//	    AllowTcpForwarding no
//	    X11Forwarding no
//	    PermitTTY no
//
//	# once
//	useradd --system --no-create-home --shell /usr/sbin/nologin penstock
//	install -d -o root -g root -m 755 /srv/penstock
//	install -d -o penstock -g penstock -m 750 /srv/penstock/in
//
// and then sftp://penstock@HOST/in?…. Such an account executes nothing, so that objects are verified by reading them
// back. To spare the network that, let it hash files and nothing else: instead of chroot and ForceCommand, give it
// a shell and its key the line restrict,command="/usr/local/bin/penstock-shell" ssh-ed25519 … in authorized_keys, with
//
//	#!/bin/sh
//	case "$SSH_ORIGINAL_COMMAND" in
//	"sha256sum < /"*) exec sha256sum < "${SSH_ORIGINAL_COMMAND#sha256sum < }" ;;
//	"openssl dgst -sha256 -r < /"*) exec openssl dgst -sha256 -r < "${SSH_ORIGINAL_COMMAND#openssl dgst -sha256 -r < }" ;;
//	internal-sftp | */sftp-server) exec /usr/lib/openssh/sftp-server ;;
//	esac
//
// which is for a DIR of letters, digits and the like: other names are quoted in the command, and read back. The line of
// openssl may be left out: it takes a quarter of sha256sum's CPU time, and is tried once a connection, after sha256sum has
// answered. Nothing below DIR has to be readable by others. An account that may not delete makes _tmp grow: publishing removes
// the temporary name.
package sftpship
