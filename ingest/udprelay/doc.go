// Package udprelay spreads the datagrams of few senders evenly over many targets.
//
// A load balancer sends all datagrams of one flow to one target, and a sender with one source port is one flow. A relay in
// front of it, or in its place, spreads each datagram by itself:
//
//   - [Spray] sends each datagram to the next target in turn.
//   - [Generations] gives each datagram the next of many source ports, and sends it to a load balancer, which takes each port
//     for a flow. The ports are used in generations. While one is in use the others rest for longer than the load balancer
//     remembers a flow, so that targets that are new get their share when the next generation begins.
//
// There are two engines, with one set of [Options]:
//
//   - [NFT] lets the kernel forward. It controls one table of nftables, and no datagram passes through this process. Datagrams
//     keep the address of their sender. It needs Linux, the program nft and CAP_NET_ADMIN.
//   - [User] receives and sends in this process, and puts a PROXY header of version 2 before each datagram, from which a
//     listener learns the sender's address (ingest.UDPOptions.ProxyFrom).
//
// An [Engine] is given targets, and serves until its context ends. The caller decides which targets there are, and which of
// them are healthy: examples/udprelay reads a file, DNS or an Auto Scaling group, and asks each target for its health.
//
// # The account
//
// Each engine counts what came in and what went out in different places. An [Account] is of one moment, and in it
//
//	In = sum(Out) + sum(Dropped) + Passing
//
// Passing is what is being forwarded just then. The NFT engine counts In before the kernel routes a datagram and Out after it,
// so a datagram that the kernel drops in between shows up as one that never came out: see [Unforwarded].
//
// The NFT engine's account is in the kernel: it goes on over the death of the process. That of the User engine begins at zero with
// each process. If the process is killed, it loses what it has in its hands, at most one batch of 64 datagrams for each socket, and no
// account has these. What arrives until the next process receives is queued in the socket, if the socket outlives the process
// (Options.Files), and is in the account of that process. What the queue has dropped since the socket was made is in the account of each
// process that has the socket.
//
// The NFT engine counts packets of the kernel. A packet that is an aggregate of datagrams counts as one, and goes to one target:
// such packets come from a sender in another namespace of the same host that uses UDP_SEGMENT, and from a network card whose
// rx-udp-gro-forwarding was turned on. It is off by default, and must stay off.
//
// # The way through the files
//
// options.go and target.go are what a caller gives, account.go what it gets, and engine.go what both engines are.
// generation.go decides which source ports are in use. nft.go controls the table, which rules.go
// writes; nftable.go runs nft, whose commands are in a file of memory_linux.go, and counting.go makes the account of what it prints.
// user.go receives, tally.go counts, header.go writes the PROXY header, and send_linux.go, ports_linux.go and send_other.go send.
package udprelay
