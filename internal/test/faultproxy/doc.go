// Package faultproxy is a proxy on loopback between a client and a real server. It does what networks and stores do on their
// worst days: [TCP] to the bytes of any protocol, [S3] to the requests of an S3 client. The servers are real, so a test sees the
// client's behaviour under a fault, and not a fake's idea of it.
package faultproxy
