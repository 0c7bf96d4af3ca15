// Package faultproxy stands between a client and a real server, on loopback, and does what networks and stores do on
// their worst days: [TCP] to the bytes of any protocol, [S3] to the requests of an S3 client. The servers behind it are
// honest, so that what a test sees is the client's own behaviour under a fault and not a fake's idea of it.
package faultproxy
