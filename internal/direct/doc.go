// Package direct says which HTTP requests must not pass through a proxy of the environment: those to services of the host
// or of its hypervisor, which a proxy cannot reach, or would answer for itself, and which return credentials.
package direct
