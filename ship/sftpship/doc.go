// Package sftpship delivers to a directory on an SFTP server: the datacenter's side of most installations.
//
//	sftp://USER@HOST[:PORT]/DIR?key=FILE&known_hosts=FILE
//
// /DIR is absolute on the server, /~/DIR lies below the account's start directory. The first
// delivery creates it, with a warning in the log: where it had been there before, a volume may not be mounted. The
// parameters are
//
//	known_hosts=FILE     required; hashed hosts, @cert-authority and @revoked lines are understood
//	key=FILE             private key; without it the agent at SSH_AUTH_SOCK is asked
//	cert=FILE            certificate for the key; default FILE-cert.pub beside the key, if there
//	passphrase_file=FILE the key's passphrase is in FILE; or passphrase_env=NAME, an environment variable
//	password_file=FILE   the account's password is in FILE; or password_env=NAME
//	jump=USER@HOST:PORT  a bastion to go through, with the same credentials and known_hosts
//	verify=POLICY        auto, exec or readback; see [Verify]
//	workers=N            connections at most, default 4
//	watchdog=30s         silence after which a peer is given up
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
// by sha256sum on the server, or by reading them back. Then the file was given its name by a hard link, which fails if
// the name is taken, and the directory was synced. Nobody ever sees part of an object under its key. Where the server
// cannot do one of these (OpenSSH can do them all), the receipt's Degraded says so:
//
//	no-fsync      the server offers no fsync: it may lose the object with its power
//	no-dir-fsync  it cannot sync directories: the same for the object's name
//	no-hardlink   published by a rename, after the key was claimed with a file created exclusively: whoever writes
//	              to the same place by other means might be overwritten
//
// # Traps that shaped it
//
// pkg/sftp has no time limits, reports success for some truncated uploads through File.ReadFrom (which io.Copy calls)
// and for some truncated downloads through File.WriteTo. So neither is called, every length is checked against the
// server's own, and each connection is watched: no byte for Watchdog, or no answer to a request for Patience, ends it.
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
// back. To spare the network that, let it execute sha256sum and nothing else: instead of chroot and ForceCommand, give it
// a shell and its key the line restrict,command="/usr/local/bin/penstock-shell" ssh-ed25519 … in authorized_keys, with
//
//	#!/bin/sh
//	case "$SSH_ORIGINAL_COMMAND" in
//	"sha256sum < /"*) exec sha256sum < "${SSH_ORIGINAL_COMMAND#sha256sum < }" ;;
//	internal-sftp | */sftp-server) exec /usr/lib/openssh/sftp-server ;;
//	esac
//
// Nothing below DIR has to be readable by others. An account that may not delete makes _tmp grow: publishing removes
// the temporary name.
package sftpship
