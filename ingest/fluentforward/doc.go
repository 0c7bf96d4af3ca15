// Package fluentforward is the server's side of the Forward protocol, version 1, which Fluentd, Fluent Bit and their client
// libraries speak. A client sends chunks of events, keeps each until it is acknowledged, and sends it again otherwise.
// [Framing] plugs the protocol into a TCP listener of package ingest, whose limits, time-outs, TLS and PROXY protocol it uses:
//
//	l, err := ingest.ListenTCP(":24224", &ingest.TCPOptions{Framing: fluentforward.Framing, MaxRecord: 12 << 20})
//	l, err := ingest.Listen("fluents://:24224?cert=server.pem&key=server.key&client_ca=ca.pem&max=12MiB",
//		&ingest.Options{Framings: map[string]ingest.Framing{"fluent": fluentforward.Framing}})
//
// All four modes are accepted: Message, Forward, PackedForward and CompressedPackedForward (gzip). The handshake with a shared
// key is not offered; client certificates authenticate clients.
//
// # Records
//
// Each event is a record. Its Data is one JSON document:
//
//	{"tag":"app.web","time":"2026-11-28T22:32:00.123456789Z","record":{"message":"…"}}
//
// Fluent Bit can send metadata with the time of an event; if there is any, it precedes the record as "metadata".
//
// Numbers, booleans, nil, arrays and maps become those of JSON, and map keys strings. A binary value becomes a string if it
// is UTF-8, otherwise base64. In strings, bytes that are not UTF-8 become U+FFFD. An event time becomes a string as above, and
// another extension type base64. NaN and the infinities become strings.
//
// # Guarantees
//
// A chunk is acknowledged ({"ack": chunk}) when all of its events are on stable storage, under every sync policy of the spool.
// Clients ask for that with the option "chunk" (require_ack_response in Fluentd, Require_ack_response in Fluent Bit). While
// the spool is full or its disk stalls, nothing more is read, and the client waits or connects again. A client whose
// connection ends before the acknowledgement sends the chunk again, so its events may be kept twice.
//
// A client that does not ask for acknowledgements has no guarantee, whatever the server does: it considers everything
// delivered that its kernel has accepted. Data that arrives while Shutdown ends such a connection is lost, and counted
// (given_up).
//
// The protocol has no answer that refuses an event. An event whose JSON is over the limit (TCPOptions.MaxRecord) can never be
// taken: it counts as lost (frame_too_long), and its chunk is acknowledged, since the client would otherwise send it without
// end. The same applies to an event that has no JSON form (malformed): without a time or a map, with a non-empty array or map
// as a key, or nested over 100 levels. The bytes of both are counted as in MessagePack, since their JSON was never completed.
//
// # Limits
//
// A whole message also has to fit into TCPOptions.MaxRecord, although it holds many records: choose it above chunk_limit_size
// of Fluentd's buffers, which is 8 MiB by default. Its tag may have 4 KiB, and the id of a chunk 1 KiB. A compressed chunk is
// inflated through a buffer, to at most 64 times TCPOptions.MaxRecord. Data that exceeds these limits or is not a message
// ends the connection, counted as malformed.
//
// The memory for inflated entries and for JSON does not count against TCPOptions.MemoryBytes. Usually a connection uses
// about 350 KiB while it unpacks a chunk. A longer event needs up to about three times TCPOptions.MaxRecord, so hostile
// clients can make all connections together use TCPOptions.MaxConns times as much.
package fluentforward
