// Package udprelay spreads the datagrams of few senders evenly over many targets.
//
// A load balancer sends all datagrams of one flow to one target, and a sender with one source port is one flow. A relay in
// front of the load balancer, or in its place, spreads each datagram individually:
//
//   - [Spray] sends each datagram to the next target in turn.
//   - [Generations] gives each datagram the next of many source ports, and sends it to a load balancer, which takes each port
//     for a flow. The ports are used in generations. While one generation is in use, the others rest for longer than the load
//     balancer remembers a flow, so that new targets get their share when the next generation begins.
//
// There are two engines, with one set of [Options]:
//
//   - [NFT] lets the kernel forward. It controls one table of nftables, and no datagram passes through this process. Datagrams
//     keep the address of their sender. It needs Linux, the program nft and CAP_NET_ADMIN.
//   - [User] receives and sends in this process, and puts a PROXY header of version 2 before each datagram, from which a
//     listener learns the sender's address (ingest.UDPOptions.ProxyFrom).
//
// An [Engine] forwards to the targets that the caller gives it, until its context ends. The caller decides which targets
// there are, and which of them are healthy: examples/udprelay reads a file, DNS or an Auto Scaling group, and checks the
// health of each target.
//
// # The account
//
// Each engine counts incoming and outgoing datagrams in different places. In every [Account], which is a snapshot,
//
//	In = sum(Out) + sum(Dropped) + Passing
//
// Passing counts the datagrams that are being forwarded at that moment. The NFT engine counts In before the kernel routes a
// datagram and Out after it, so a datagram that the kernel drops in between shows up as one that never came out: see
// [Unforwarded].
//
// The NFT engine's account is in the kernel and survives the process. That of the User engine begins at zero with each process. If
// the process is killed, it loses the datagrams in its memory, at most one batch of 64 for each socket, and no account has these.
// Datagrams that arrive before the next process receives are queued in the socket, if it outlives the process (Options.Files), and
// are in the account of the next process. Drops of the queue since the socket was made are in the account of each process that has
// the socket.
//
// The NFT engine counts packets of the kernel. A packet that is an aggregate of datagrams counts as one, and goes to one target:
// such packets come from a sender in another namespace of the same host that uses UDP_SEGMENT, and from a network card whose
// rx-udp-gro-forwarding was turned on. That feature is off by default, and must stay off.
//
// # The way through the files
//
// options.go and target.go have the caller's input, account.go the result, and engine.go the interface of both engines.
// generation.go decides which source ports are in use. nft.go controls the table, which rules.go writes; nftable.go runs nft with
// commands in a file from memory_linux.go, and counting.go makes the account from its output. user.go receives, tally.go counts,
// header.go writes the PROXY header, and send_linux.go, ports_linux.go and send_other.go send.
package udprelay
