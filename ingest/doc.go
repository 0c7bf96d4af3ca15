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
// Everything that reached a socket is accounted for: received = taken by the sink + in hand + lost by cause. On Linux the
// kernel's drops are counted exactly per socket (SO_MEMINFO), from the bind to the close; on other systems they are
// unknown, and Stats says so. What the kernel throws away before it knows the socket (a full backlog of the network stack,
// fragments of a datagram that never became whole) is in the counters of the host alone (/proc/net/softnet_stat, nstat). Records are accounted before they are offered, so that the ledger can never show more kept
// than received.
//
// Close, which does not wait for the sink, reads what is in hand and in the sockets and counts it as lost, cause
// given_up. A connection that the listener itself closes is read to its end too: nothing that the kernel has acknowledged
// to a peer goes uncounted.
//
// Shutdown loses nothing that had arrived: sockets are made deaf before they are read out and closed, and TCP
// connections are cut exactly behind what had been acknowledged to the peer.
//
// # How a UDP socket is closed
//
// A closed socket loses what is queued in it, and reading it empty first only narrows the window. So Shutdown connects
// each socket to itself. The kernel then finds it no more for datagrams from anybody else: they go to the other sockets
// of the port, if there are any, and else their senders are told. What is queued stays, and is read to the last. The
// drop counter, read after that, is final.
//
// Sockets that were inherited ([Inherited], systemd's socket activation) belong to the next process as well. They stay
// as they are: Shutdown reads what had arrived when it was called and leaves the rest. Both processes may read at the
// same time, since every datagram goes to one of them.
//
// # How a TCP connection is closed
//
// Shutdown accepts what is queued, and closes its own side of every connection, which a well-behaved sender takes for
// what it is. It then reads on until the peer closes too, for TCPOptions.Grace at most. Then the other side is closed as
// well: from there on Linux refuses what arrives, so that everything it ever acknowledged is still read, and nothing it
// has not acknowledged is lost unnoticed. Behind that the connection is reset. A message that a sender had under way
// then is its own to send again: only a protocol with acknowledgements can do better.
//
// # Senders that never read
//
// Most senders write and never read. Bytes that wait unread in such a sender turn its close into a reset, and its kernel
// then throws away what it has not sent yet. So a listener whose framing does not acknowledge sends nothing at all after
// the TLS handshake: no session tickets (whatever the tls.Config says), no close_notify, no answer to a KeyUpdate. At
// Shutdown it closes its side of the TCP connection, which a sender that does read sees as the end of the stream. Every
// connection therefore costs a full handshake.
//
// A connection that ends with a reset is counted (Stats.Resets) and logged, whether or not a frame was incomplete. How
// much its sender's kernel threw away, nobody on this side can know.
//
// # How a process is replaced
//
// [HandOver] leaves the sockets to a successor, a new version of the program, say. Of UDP that is everything, with what is
// queued in them and the counts of their drops. Of TCP it is the listening socket with the connections that nobody has
// accepted yet; those that are open stay with the old process, which closes them as at Shutdown, and their peers connect
// anew. Meanwhile a [Hold] takes what comes, until the successor has the spool.
//
// # Acknowledgements
//
// A framing whose Framers implement [Acknowledger] answers its peers, and tells them only what is durable. Package ingest/relp
// is one. Such a connection ends otherwise at Shutdown: nothing more is read, what was read is made durable and answered,
// and the peer is told goodbye. Everything else it sends again, elsewhere.
//
// # How much a receive buffer holds
//
// While the process waits for its disk, or is replaced, the socket's receive buffer takes what arrives. It should hold a
// second. Linux charges a datagram with its memory, not its length: 1,280 bytes for one of up to 512, 2,304 for one of
// 1,400, 16,644 for one of 8,900. The default of 64 MiB, which Linux doubles, holds about 100,000 datagrams of 512 bytes.
// It is granted to processes with CAP_NET_ADMIN; all others need a net.core.rmem_max of that size. UDPOptions.ExpectedRate
// makes the listener warn if it is too little, and Stats tells what was granted.
//
// # Behind a proxy or load balancer
//
// UDPOptions.ProxyFrom and TCPOptions.ProxyFrom name the addresses whose PROXY headers are believed: of version 1 or 2
// before a connection's first byte and before TLS, as HAProxy, nginx and Amazon's NLB send it; of version 2 before the
// payload of each datagram. An NLB sends it only on request (the target group's proxy_protocol_v2.enabled), from its own
// private addresses, to be trusted as the subnets it is in. It needs none where it preserves client addresses, as it
// always does for UDP. A header that the client itself had sent comes behind it, and is data.
//
// On EC2, Stats.Allowances has what the network interface held up before the kernel could see it. The account cannot
// begin there, since nobody tells what of it was lost; the listener warns when it moves.
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
// connections and their limits, conn.go the life of one, connend.go its end, tlsconn.go what TLS adds to it, cut.go the way from its buffer
// to the sink. Framings are in framer.go (the interface), newline.go and counted.go; answer.go is what those have
// besides that acknowledge. proxy.go has the sources whose PROXY headers are believed and the headers of datagrams,
// proxyconn.go those of connections. allowance.go has the counters of EC2's interfaces. life.go, meter.go, limiter.go
// and sink.go are shared by both listeners. pause.go is how they stop reading for a while, handover.go and
// handover_linux.go how a successor gets their sockets, hold.go where it keeps what comes until it has a sink. url.go
// opens either from a URL, with tlsfiles.go and inherit.go.
package ingest
