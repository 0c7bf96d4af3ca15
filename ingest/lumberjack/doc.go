// Package lumberjack is the server's side of Lumberjack version 2, the protocol of Beats (Filebeat and others) and of
// Logstash's output. A client sends a window of events, keeps them until they are acknowledged, and sends the next window.
// [Framing] plugs the protocol into a TCP listener of package ingest, whose limits, time-outs, TLS and PROXY protocol it uses:
//
//	l, err := ingest.ListenTCP(":5044", &ingest.TCPOptions{Framing: lumberjack.Framing, MaxRecord: 8 << 20})
//	l, err := ingest.Listen("lumberjacks://:5044?cert=server.pem&key=server.key&client_ca=ca.pem&max=8MiB",
//		&ingest.Options{Framings: map[string]ingest.Framing{"lumberjack": lumberjack.Framing}})
//
// # Records
//
// Each event is a record. Its Data is the JSON document as the client has sent it, byte for byte. Old clients send events
// in data frames, as key and value pairs. Such an event becomes a JSON object of strings in the order of the pairs; in it,
// bytes that are not UTF-8 become U+FFFD.
//
// # Guarantees
//
// An event is acknowledged when it is on stable storage, under every sync policy of the spool. A client need not wait for a
// whole window: the listener acknowledges durable events by the number of the last one, so a large window needs few calls of
// fdatasync and the client sees progress. While the spool is full or its disk stalls, nothing more is read and the client
// waits. Meanwhile the listener acknowledges event 0, that is nothing, so that the client does not give the connection up.
//
// The protocol has no answer that refuses an event. An event over the limit (TCPOptions.MaxRecord) can never be taken: it counts as
// lost (frame_too_long) and is acknowledged with the others, since the client would otherwise send it without end. The same applies
// to an event of key and value pairs whose JSON is over the limit; its bytes are counted as in the data frame. A data frame that is
// itself over the limit is malformed and ends the connection, and the client sends it again.
//
// Shutdown acknowledges what is durable, and closes. The client sends everything else again, to this or another server. A
// client whose connection ends before it has been acknowledged sends the window again, so part of a window may be kept twice.
//
// # Compression
//
// A compressed frame also has to fit into TCPOptions.MaxRecord, although it holds many records. It is inflated through a
// small buffer, to at most 64 times TCPOptions.MaxRecord. A larger one is malformed and ends the connection, and the client
// would send it again without end. Filebeat sends up to bulk_max_size events (2,048) in one frame: with the default limit of
// 1 MiB that suffices for events of about 5 KB. Choose a larger MaxRecord if events are longer.
//
// The buffer does not count against TCPOptions.MemoryBytes. A connection that has sent a compressed frame keeps 64 KiB. It uses up
// to TCPOptions.MaxRecord and 64 KiB while it inflates an event longer than 64 KiB, and up to about three times
// TCPOptions.MaxRecord while it makes JSON of a data frame. So hostile clients can make all connections together use
// TCPOptions.MaxConns times as much. Authenticate clients, or choose a smaller MaxConns.
//
// # A configuration for Filebeat
//
//	output.logstash:
//	  hosts: ["collector.example:5044"]
//	  compression_level: 3
//	  bulk_max_size: 2048
//	  timeout: 90
//	  ssl.certificate_authorities: ["/etc/ssl/ca.pem"]
//
// # Frames
//
// Numbers are big-endian and have 4 bytes. Every frame begins with the version, "2", and a letter:
//
//	"2W" COUNT                            the next COUNT events are a window
//	"2J" SEQ LENGTH DATA                  an event; SEQ is 1 for the first event of a window
//	"2D" SEQ PAIRS (LENGTH KEY LENGTH VALUE)...   an event of key and value pairs
//	"2C" LENGTH DATA                      frames compressed with zlib, none of them compressed
//	"2A" SEQ                              from the server: the events of the window up to SEQ
//
// Everything else ends the connection, counted as malformed.
package lumberjack
