// Package sftpc is an SFTP client (version 3) with overlapping requests: one call sends a request and another awaits its
// answer, so that the caller decides which requests are in flight at the same time, and in which order.
//
// It exists because round trips dominate the cost of SFTP on a line with high latency. A client whose every call waits for its
// answer (github.com/pkg/sftp) cannot express "write, sync, close and stat, in this order but without waiting", so it takes
// five round trips instead of one. The protocol allows this: a server must process requests about one file in the order in
// which they were sent (draft-ietf-secsh-filexfer-02, section 6), and OpenSSH's server processes all requests in order.
//
// There are three main types: a [Client] owns a channel; an [Exchange] is what one operation sends over it, and counts its
// requests and round trips; a [Pending] is an answer that has not arrived yet. All input from a server is bounded: the length
// of an answer, of a name, of a listing.
package sftpc
