package ingest

import (
	"net/netip"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Stats is a snapshot of a listener's counters, which begin when it is made.
type Stats struct {
	// Received counts the records that reached the listener, including lost ones. It includes their bytes if these are
	// known.
	Received segment.Tally
	// Lost counts by cause what was received and could not be kept. Bytes of kernel drops are unknown.
	Lost segment.Losses
	// InHand counts records that were received and that the sink has not taken yet. Received = taken + InHand + Lost;
	// taken includes records that the sink rejected and counted itself.
	InHand segment.Tally
	// Queued is how many bytes wait in the sockets and are not received yet: for UDP as the kernel charges them (see
	// ReceiveBuffer), for TCP as in the streams. 0 if the kernel does not say.
	Queued int64
	// DropsKnown says whether Lost[segment.KernelOverflow] counts the kernel's drops. If it is false, any number of
	// them may be missing.
	DropsKnown bool
	// ProxyMalformed counts connections and datagrams from a trusted proxy without a valid PROXY header. Such connections
	// are refused, such datagrams kept unchanged. ProxyIgnored counts connections and datagrams from other sources that
	// begin with a PROXY header, which is kept as data and not trusted.
	ProxyMalformed, ProxyIgnored uint64
	// LastRecord is when the newest record was read, zero before the first. It has a monotonic clock reading, so
	// time.Since returns how long nothing has arrived.
	LastRecord time.Time
	// ReceiveBuffer is the size that the kernel granted to the sockets of a UDP listener, in bytes as the kernel
	// charges them: 1,280 for a datagram of up to 512 bytes, 2,304 for one of 1,400 bytes.
	ReceiveBuffer int
	// Allowances counts what the network interfaces of an EC2 instance delayed or dropped, for a UDP listener. It is
	// empty if that is unknown: outside EC2, in containers with interfaces of their own, and with an old driver.
	Allowances []Allowance
	// Conns is the number of open connections of a TCP listener, Refused how many were turned away.
	Conns   int
	Refused uint64
	// Resets counts connections of a TCP listener that ended without the peer's close after it had sent something:
	// reset, given up by TCP, or broken inside TLS. Data that the peer's kernel had not sent by then is lost, and no
	// listener can count it. With a framing that acknowledges nothing is lost: the peer sends it again.
	Resets uint64
	// Sockets has the receive queue, the buffer and the drops of each socket of a UDP listener.
	Sockets []SocketStats
	// Senders has the addresses that certainly sent the most records to this listener, at most 64: see TopSenders.
	Senders []Sender
	// TLSExpires is when the first certificate that a TLS listener uses expires, as of its latest handshake; zero if that
	// is not known.
	TLSExpires time.Time
	// Panics counts connections that were closed because their Framer or a callback of their tls.Config panicked, and panics of
	// Attributes and Hooks. The log has the stack. Data that such a connection had not acknowledged is lost (panic), unless its
	// peer sends it again.
	Panics uint64
}

// SocketStats is a snapshot of one socket of a UDP listener.
type SocketStats struct {
	Queued    int64  // bytes that wait to be read, as the kernel charges them; 0 if it does not say
	Buffer    int    // bytes that fit: the receive buffer that the kernel granted
	Requested int    // the receive buffer that was requested
	Drops     uint64 // datagrams that the kernel has dropped, as far as this process knows
}

// add adds the counters of a meter.
func (s *Stats) add(m *meter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	addTally(&s.Received, m.received)
	addTally(&s.InHand, m.inHand)
	addLosses(&s.Lost, &m.lost)
	s.ProxyMalformed += m.proxyMalformed
	s.ProxyIgnored += m.proxyIgnored
	s.Resets += m.resets
	s.Panics += m.panics
	if m.last.After(s.LastRecord) {
		s.LastRecord = m.last
	}
	s.Senders = m.senders.list(s.Senders)
}

// meter counts for one socket or, shared by its connections, for one TCP listener. It counts independently of the sink,
// so each checks the other.
type meter struct {
	mu       sync.Mutex
	received segment.Tally
	lost     segment.Losses
	inHand   segment.Tally
	last     time.Time

	proxyMalformed, proxyIgnored uint64
	resets, panics               uint64
	failing                      error // why nothing can be received at present
	senders                      senders
}

// fail notes why nothing can be received, nil if something can be.
func (m *meter) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = err
}

func (m *meter) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failing
}

// arrived counts what was read, before the records in hand are offered to the sink.
func (m *meter) arrived(now time.Time, a *segment.Account, hand segment.Tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = now
	m.count(a)
	addTally(&m.inHand, hand)
}

// heard notes the senders of a burst of datagrams.
func (m *meter) heard(now time.Time, burst []segment.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.senders.note(burst, now)
}

// heardFrom notes that the peer of a connection has sent records.
func (m *meter) heardFrom(addr netip.Addr, now time.Time, t segment.Tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.senders.add(addr, t, now)
}

// lose counts records that the listener will never hand to a sink.
func (m *meter) lose(a *segment.Account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count(a)
}

// proxy counts PROXY headers that are missing or invalid, and those that are not trusted.
func (m *meter) proxy(malformed, ignored uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proxyMalformed += malformed
	m.proxyIgnored += ignored
}

// broken counts a connection that ended without the peer's close.
func (m *meter) broken() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resets++
}

// panicked counts a panic of the embedder's code.
func (m *meter) panicked() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.panics++
}

// handed is called when records are no longer in hand: the sink has taken them, or they are given up.
func (m *meter) handed(hand segment.Tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inHand.Records -= hand.Records
	m.inHand.Bytes -= hand.Bytes
}

// givenUp returns the account of records that were accounted for as received, and that the sink did not take.
func givenUp(t segment.Tally) (a segment.Account) {
	a.Lost[segment.GivenUp] = segment.Loss{Records: t.Records, Bytes: t.Bytes}
	return a
}

// count adds an account; m.mu is held.
func (m *meter) count(a *segment.Account) {
	addTally(&m.received, a.Received)
	addLosses(&m.lost, &a.Lost)
}

func addTally(t *segment.Tally, d segment.Tally) {
	t.Records += d.Records
	t.Bytes += d.Bytes
}

func addLosses(l, d *segment.Losses) {
	for c := range l {
		l[c].Add(d[c])
	}
}

// tally counts the records of a batch.
func tally(batch []segment.Record) (t segment.Tally) {
	t.Records = uint64(len(batch))
	for i := range batch {
		t.Bytes += uint64(len(batch[i].Data))
	}
	return t
}
