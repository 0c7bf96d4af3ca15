// Package sftpship delivers to a directory on an SFTP server: the datacenter's side of most installations.
//
//	sftp://USER@HOST[:PORT]/DIR?key=FILE&known_hosts=FILE
//
// /DIR is absolute on the server, /~/DIR is below the account's start directory. The first delivery creates /DIR and logs a
// warning: if the directory existed before, its volume may not be mounted. The parameters are
//
//	known_hosts=FILE     required; hashed hosts, @cert-authority and @revoked lines are understood
//	key=FILE             private key; without it the agent at SSH_AUTH_SOCK is used
//	cert=FILE            certificate for the key; default FILE-cert.pub beside the key, if there
//	passphrase_file=FILE the key's passphrase is in FILE; or passphrase_env=NAME, an environment variable
//	password_file=FILE   the account's password is in FILE; or password_env=NAME
//	jump=USER@HOST:PORT  a bastion to go through, with the same credentials and known_hosts
//	verify=POLICY        auto, exec or readback; see [Verify]
//	workers=N            maximum number of connections, default 4; each carries one large upload and up to eight small operations
//	stall_timeout=30s    silence after which a connection is closed
//
// All these files are read again for each connection, so correcting them needs no restart. A line of known_hosts that cannot be
// read is skipped with a warning, as ssh(1) skips it. A file with a secret that every account of this machine can read is used,
// with a warning.
//
// The password is sent if the server asks for one, alone or after it has accepted the key, including as the only hidden question
// of a keyboard-interactive challenge. Codes that a person would have to read off a device are not supported.
//
// # What a nil error of Put means
//
// The bytes were written to a temporary file under _tmp/<spool>/, synced with fsync@openssh.com, measured, and hashed: by
// sha256sum or openssl on the server, or by reading them back. Then the file was given its name by a hard link, which fails if
// the name is taken, the object was seen under its name, the directory was synced, and only then was the temporary name removed.
// Nobody ever sees part of an object under its key. If the server cannot do one of these (OpenSSH can do them all), the receipt's
// Degraded says so:
//
//	no-fsync      the server offers no fsync: it may lose the object in a power loss
//	no-dir-fsync  it cannot sync directories: the same for the object's name
//	no-hardlink   published by a rename, after the key was claimed with a file created exclusively: a file that
//	              another program puts under the key at that moment might be overwritten
//
// # What it costs
//
// On OpenSSH a new object of up to 8 MiB costs 14 requests, plus one for each 255 KiB sent and one for each read back, in 5 round
// trips: requests whose order the server keeps are sent without waiting for each other's answers. (Above 2 MiB, SSH's window of 2
// MiB per direction limits how much is in flight, which adds time.) A Put that finds its own object, as Drain's verification
// does, costs 2 round trips, a Stat 1. The first object of an hour makes the hour's directory and costs 3 more. Servers other
// than OpenSSH are not trusted to keep the order of requests; there a new object costs about 10 round trips.
//
// # Space
//
// If the server reports its free space, the driver asks for it once a minute. It refuses an upload that would leave less than 64
// MiB or a hundredth of the file system free, whichever is more, so that clean-up and other programs still have room. "0 of 0
// blocks" counts as no report.
//
// # Temporary files
//
// An upload whose connection breaks leaves its temporary file. The next upload of the same process removes it; at the end of a
// drain that is the last manifest. When a spool uploads, it removes the files that killed processes have left in its own
// directory, once they are an hour old: until then it cannot distinguish them from uploads in progress. Nothing removes the small
// _tmp/check-*.part of a Check that was killed, or files of a spool that no longer uploads: delete them by hand.
//
// # Servers
//
// Some servers answer "failure" or "no such path" for a file that is not there (the driver then lists its directory to be sure),
// some confirm hard links and make none (objects are then published by renaming), and some omit the attributes for size or
// permissions. If another program moves files out of the directory as soon as they are complete, each attempt would deliver the
// same file again: the destination is parked, and its error says so.
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
// and then sftp://penstock@HOST/in?…. Such an account cannot execute commands, so objects are verified by reading them back. To
// avoid that traffic, let it hash files and nothing else: instead of chroot and ForceCommand, give it a shell and its key the
// line restrict,command="/usr/local/bin/penstock-shell" ssh-ed25519 … in authorized_keys, with
//
//	#!/bin/sh
//	case "$SSH_ORIGINAL_COMMAND" in
//	"sha256sum < /"*) exec sha256sum < "${SSH_ORIGINAL_COMMAND#sha256sum < }" ;;
//	"openssl dgst -sha256 -r < /"*) exec openssl dgst -sha256 -r < "${SSH_ORIGINAL_COMMAND#openssl dgst -sha256 -r < }" ;;
//	internal-sftp | */sftp-server) exec /usr/lib/openssh/sftp-server ;;
//	esac
//
// This script is for a DIR of letters, digits and the like. Other names are quoted in the command, and read back. The line of
// openssl is optional: openssl takes a quarter of sha256sum's CPU time, and is tried once per connection, after sha256sum has
// answered. Nothing below DIR has to be readable by others. If the account may not delete, _tmp grows, because publishing removes
// the temporary name.
package sftpship
