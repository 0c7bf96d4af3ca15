// Package ingest takes records off the network: datagrams over UDP and unix sockets, frames over TCP and TLS. It hands
// them to a Sink, which is what spool.Intake implements, together with an account of all that it received and lost.
//
// [ListenUDP] and [ListenTCP] bind; [UDP.Serve] and [TCP.Serve] receive until [UDP.Shutdown], in the words of net/http.
// [Listen] opens either from a URL.
//
// # What is promised
//
// Nothing is dropped in user space. While the Sink does not take records, the listener keeps the batch in hand, tries
// again, and reads no more: TCP slows its peers down, and what UDP loses then the kernel drops, and counts.
//
// Everything that reached the host is accounted for: received = taken by the sink + in hand + lost by cause. On Linux the
// kernel's drops are counted exactly per socket (SO_MEMINFO), from the bind to the close; on other systems they are
// unknown, and Stats says so. Records are accounted before they are offered, so that the ledger can never show more kept
// than received.
//
// Shutdown loses nothing that had arrived: sockets are made deaf before they are read out and closed, and TCP
// connections are cut exactly behind what had been acknowledged to the peer.
//
// # What strangers can do
//
// Payloads are opaque and never interpreted. Connections are limited in number, per source too, in the memory they use,
// and in the time a frame may take; what is refused or lost is counted, and logged at a bounded rate.
//
// # The way through the files
//
// udp.go is the UDP listener, socket.go the loop of one of its sockets and the account of its drops, recv_linux.go the
// recvmmsg(2) below it and recv_plain.go what other systems have instead. tcp.go is the TCP listener, connset.go its
// connections and their limits, conn.go the life of one, cut.go the way from its buffer to the sink. Framings are in
// framer.go (the interface), newline.go and counted.go. life.go and meter.go are shared by both listeners.
package ingest
