// Package relp is the server's side of RELP, the Reliable Event Logging Protocol, which rsyslog speaks. A client sends
// messages and keeps each one until it is acknowledged, so that neither a broken connection nor the death of either side
// loses any. [Framing] plugs the protocol into a TCP listener of package ingest, whose limits, time-outs, TLS and PROXY
// protocol it uses:
//
//	l, err := ingest.ListenTCP(":2514", &ingest.TCPOptions{Framing: relp.Framing})
//	l, err := ingest.Listen("relps://:2514?cert=server.pem&key=server.key&client_ca=ca.pem",
//		&ingest.Options{Framings: map[string]ingest.Framing{"relp": relp.Framing}})
//
// # Guarantees
//
// A message is acknowledged (200 OK) when it is on stable storage, under every sync policy of the spool. While one fdatasync
// runs, the next messages are read and appended, until TCPOptions.Window messages await acknowledgement. So a whole window
// shares one fdatasync, and so do connections that wait at the same time. The listener sends acknowledgements in the order
// of the messages.
//
// A message that could not be made durable is not acknowledged, and the listener closes the connection: the client sends the
// message again. The answer 500 is final, since a client then drops the message. So the listener sends it only for messages
// that it can never take: a message over the limit (TCPOptions.MaxRecord, 1 MiB; rsyslog's maxMessageSize is 8 KiB) or a
// command other than syslog. Both count as lost. rsyslog drops that message, logs the answer, and connects again. Overload is
// never answered with 500: while the spool is full or its disk stalls, nothing more is read, and the client waits or connects
// again. (With the spool's policy Reject, messages that the spool counts as lost are not acknowledged either: the client
// sends them again, and they are counted again.)
//
// Shutdown acknowledges what is durable, sends the hint serverclose, and closes. The client sends everything else again,
// to this or another server. This listener does not count those messages.
//
// # Duplicates
//
// A client that loses its connection sends again what was not acknowledged, and cannot know how much of that was kept. So
// each time up to one window of messages (rsyslog: 128) can be kept twice. Every protocol with acknowledgements has this
// property; a program that must remove duplicates puts a number into the messages.
//
// # A configuration for rsyslog
//
// Version 8, with the package rsyslog-relp:
//
//	module(load="omrelp")
//	action(type="omrelp" target="collector.example" port="2514"
//	       template="RSYSLOG_SyslogProtocol23Format"
//	       windowSize="1024" timeout="90"
//	       queue.type="LinkedList" queue.filename="to-collector" queue.maxDiskSpace="10g" queue.saveOnShutdown="on"
//	       action.resumeRetryCount="-1" action.resumeInterval="5")
//
// The queue keeps messages while the collector is unreachable, indefinitely (resumeRetryCount="-1"), and on disk if there
// are many or rsyslog ends. A larger window shares an fdatasync among more messages. timeout is how long rsyslog waits for
// an acknowledgement before it connects again; it should outlast a stall of the disk. For TLS, with relps:// at the other
// end:
//
//	tls="on" tls.caCert="/etc/ssl/ca.pem" tls.myCert="/etc/ssl/client.pem" tls.myPrivKey="/etc/ssl/client.key"
//	tls.authMode="name" tls.permittedPeer="collector.example"
//
// # Frames
//
// As in librelp's doc/relp.md, which is the specification:
//
//	TXNR SP COMMAND SP DATALEN [SP DATA] LF
//
//	TXNR     1 to 9 digits: 1 for the first frame of a connection, then always the next; 1 after 999999999; 0 for hints
//	COMMAND  1 to 32 letters: open, syslog, close; from the server rsp, and the hint serverclose
//	DATALEN  1 to 9 digits: the bytes of DATA
//
// The listener ends the connection, and counts it as malformed, after any other bytes, a transaction number out of order, a
// message before the session is open, or a second open. It counts an incomplete frame at the end as on any TCP connection:
// malformed if the client closed the connection, reset if the connection broke. The client still has that message.
package relp
