// Package direct decides which HTTP requests must bypass the proxy of the environment: those to services of the host or of its
// hypervisor. A proxy cannot reach them, or would reach those of its own host, and they return credentials.
package direct
