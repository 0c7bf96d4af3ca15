// Package packages builds the .deb and the .rpm of examples/deploy/packages, and installs, runs and removes each in a copy of this
// system that leaves the system itself alone: an overlay file system, whose upper directory then shows every file that was touched.
// Where the first process is not systemd, a small supervisor starts the service as its unit says.
package packages
