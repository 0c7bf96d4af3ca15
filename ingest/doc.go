// Package ingest receives records from the network: datagrams over UDP and unix sockets, frames over TCP and TLS. It hands
// them to a [Sink], which spool.Intake implements, together with an account of everything that it received and lost.
//
// [ListenUDP] and [ListenTCP] bind. [UDP.Serve] and [TCP.Serve] receive until Shutdown is called, like a server of
// net/http. [Listen] opens either kind of listener from a URL.
//
// # Guarantees
//
// Until Close is called, the listener discards no record within its limits that it has read. While the Sink does not take
// records, the listener keeps the current batch, tries again, and reads no more. TCP then slows its peers down. The
// kernel drops UDP datagrams that arrive while the receive buffer is full, and counts them.
//
// Everything that reached a socket is accounted for: every received record was taken by the sink, is in the hands of the
// listener, or is counted as lost, by cause. On Linux the kernel's drops are counted exactly per socket (SO_MEMINFO), from
// bind to close; with UDPOptions.GRO their count is a lower bound. On other systems they are unknown, and Stats says so.
// Packets that the kernel drops before it has found a socket (a full backlog of the network stack, fragments of a datagram
// that never became whole) appear only in the counters of the host (/proc/net/softnet_stat, nstat). The listener counts a
// record as received before it offers it to the sink, so the ledger never shows more kept than received.
//
// Shutdown loses nothing that had arrived: each socket stops receiving, is read until it is empty, and only then closed. A
// TCP connection is cut exactly after the last byte that the kernel acknowledged to the peer.
//
// Close does not wait for the sink. The listener reads what is left in its sockets and counts it, together with the
// records that it has in hand, as lost (given_up). A connection that the listener itself closes is read to its end too, so
// no byte that the kernel has acknowledged to a peer goes uncounted.
//
// # How a UDP socket is closed
//
// Closing a socket loses what is queued in it, and reading it first leaves a gap in which more can arrive. So Shutdown connects
// each socket to itself. The kernel then no longer delivers other senders' datagrams to it: they go to the port's remaining
// sockets or, if there are none, are rejected with an ICMP error. What is queued stays and is read to the end. The drop counter
// that is read after that is final. Systems other than Linux do not detach a socket: the listener reads what had arrived, and
// datagrams that arrive after that, until the socket is closed, are lost and not counted. The log says so.
//
// Sockets that were inherited ([Inherited], systemd's socket activation) belong to the next process as well, so they are
// left as they are: Shutdown reads what had arrived when it was called and leaves the rest. Both processes may read at the
// same time, since each datagram is delivered to only one of them.
//
// # How a TCP connection is closed
//
// Shutdown accepts the connections that are queued and closes its own side of every connection. A well-behaved sender
// understands this and stops. The listener reads on until the peer closes too, at most for TCPOptions.Grace. Then it
// closes the reading side as well: from then on Linux refuses new data, so everything that it has acknowledged is still
// read. After the last byte the connection is reset. The sender must repeat a message that was in transit at that moment;
// it can know this only if the protocol has acknowledgements.
//
// # Senders that never read
//
// Most senders write and never read. If unread bytes wait in such a sender, its close becomes a reset, and its kernel
// discards what it has not sent yet. So a listener whose framing does not acknowledge sends nothing after the TLS
// handshake: no session tickets (whatever the tls.Config says), no close_notify, no answer to a KeyUpdate. At Shutdown it
// closes its side of the TCP connection, which a sender that does read sees as the end of the stream. Without tickets every
// connection costs a full handshake.
//
// A connection that ends with a reset is counted (Stats.Resets) and logged, whether or not a frame was incomplete. How much
// its sender's kernel discarded cannot be known here.
//
// # Replacing the process
//
// [HandOver] passes the sockets to a successor, for example a new version of the program. For UDP that includes the queued
// datagrams and the drop counters. For TCP it is the listening socket with the connections that are not accepted yet; the
// old process closes its open connections as in Shutdown, and their peers connect again. The successor keeps
// what it receives in a [Hold], in memory, until the old process has closed the spool.
//
// # Acknowledgements
//
// A framing whose Framers implement [Acknowledger] acknowledges records, and only durable ones; package ingest/relp is an
// example. At Shutdown such a connection reads nothing more, makes what it has read durable, acknowledges it, and says
// goodbye to the peer. The peer sends everything else again, to this or another server.
//
// # Between a listener and a spool
//
// A [Transform] drops, changes or splits records before they reach a spool, and a [Route] distributes them to several spools.
// Both are Sinks, can be combined in any order, and keep the ledgers correct. A program's own Sink that only passes records
// on implements [Wrapper].
//
// # Size of the receive buffer
//
// While the process waits for its disk or is replaced, the socket's receive buffer takes what arrives. It should hold one
// second of traffic. Linux charges more memory for a datagram than its length: 1,280 bytes for a datagram of up to 512
// bytes, 2,304 for 1,400 bytes, 16,640 for 8,900 bytes. The default of 64 MiB, which Linux doubles, holds about 100,000
// datagrams of 512 bytes. It is granted to processes with CAP_NET_ADMIN; all others need net.core.rmem_max of that size.
// With UDPOptions.ExpectedRate the listener warns if the buffer is too small, and Stats has the size that was granted.
//
// # Proxies and load balancers
//
// UDPOptions.ProxyFrom and TCPOptions.ProxyFrom name the addresses whose PROXY headers are trusted: version 1 or 2 before
// the first byte of a connection, ahead of TLS, as HAProxy, nginx and Amazon's NLB send it; version 2 ahead of the payload
// of each datagram. An NLB sends the header only if the target group has proxy_protocol_v2.enabled, and sends it from its
// own private addresses: trust its subnets. It needs no header where it preserves client addresses, as it always does for
// UDP. A header that the client itself had sent follows the trusted one, and is data.
//
// On EC2, Stats.Allowances counts what the network interface delayed or dropped before the kernel saw it. The account
// cannot include it, since the interface does not tell how much was lost; the listener warns when a counter grows.
//
// # Attributes
//
// A record can carry attributes (segment.Attrs), a small set of key/value pairs. With TCPOptions.Attributes and
// UDPOptions.Attributes, or attrs=conn in a URL, the listener gives all records of a connection the same set: [ConnAttrs] has
// the subject of the client's certificate, the server name, the id of a VPC endpoint that a load balancer names, and the
// listener's address; a function of the program's own can return anything else that it knows of the [Stream]. By default
// records have none. The set is made once for a connection, and for datagrams once for each set of extensions (TLVs) that a
// trusted proxy sends. The spool stores it once per block; objects in NDJSON have it in each line, as attrs.
//
// # Untrusted senders
//
// Payloads are opaque and never interpreted. Connections are limited in number, also per source, in the memory they use,
// and in the time a frame may take. What is refused or lost is counted, and logged at a bounded rate.
//
// # The way through the files
//
// From the outside in. url.go opens a listener from a URL, with tlsfiles.go and inherit.go. handover_linux.go passes sockets
// to a successor, in the messages of handover.go, and hold.go keeps records until the successor has a sink. transform.go and
// route.go are Sinks that pass records on to others, and marks.go knows which records of each Sink a Route waits for.
//
// UDP: udp.go is the listener. open_linux.go binds its sockets, unixgram_linux.go and unixgram.go those of the unix domain.
// socket.go is the loop of one socket and the account of its drops; drops.go and drops_linux.go find out why the kernel
// dropped. recv_plain.go reads one datagram at a time; recv_linux.go reads many with recvmmsg(2), or with the fallback in
// recvcall_linux.go, and msg_linux.go decodes their addresses and control messages. receiver.go is the interface between
// both and the loop. udpoptions.go has the options.
//
// TCP: tcp.go is the listener, connset.go has its connections and their limits, shares.go the limits of the process. conn.go
// is the life of one connection. proxyconn.go reads its PROXY header, proxytlv.go the extensions in it, attrs.go makes
// attributes of them, tlsconn.go adds TLS, certificate.go knows when its certificate expires, cut.go takes frames from its
// buffer to the sink, answer.go sends acknowledgements, connend.go ends it, and budget.go bounds its memory. accept_linux.go
// asks the kernel what is queued. guard.go stops panics of Framers. counted.go and newline.go are framings, framer.go is
// their interface. tcpoptions.go has the options.
//
// Both: movable.go is the part of a listener that a hand-over uses, and pause.go stops its reading for that. sink.go is the
// interface to the spool, wrapper.go has the optional methods of a Sink, and life.go the life cycle of a listener. meter.go
// counts records, senders.go counts them by sender, and allowance_linux.go and allowance.go read the counters of EC2's
// interfaces; hooks.go calls an embedder's hooks. proxy.go has the trusted sources and the headers of datagrams, misuse.go
// refuses invalid arguments, limiter.go bounds the rate of the log, refused.go explains system calls that the system
// refuses, and inherit_unix.go has system calls on descriptors.
package ingest
