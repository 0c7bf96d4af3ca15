// Package sftpc is the client's side of SFTP version 3 with requests that overlap: a request is sent by one call and its
// answer awaited by another, so that a caller decides what is on its way at the same time, and in which order.
//
// It exists because the round trip is what SFTP costs over a long line. A client whose every call waits for its answer
// (github.com/pkg/sftp) cannot express "write, sync, close and measure, in this order and at once": five round trips
// instead of one. The protocol allows it: a server must process requests about one file in the order in which they were
// sent (draft-ietf-secsh-filexfer-02, section 6), and OpenSSH's processes all of them in order.
//
// The few types: a [Client] owns a channel; an [Exchange] is what one operation sends over it, and counts its requests and
// round trips; a [Pending] is an answer that has not come yet. Whatever a server says is bounded: the length of an answer,
// of a name, of a listing.
package sftpc
