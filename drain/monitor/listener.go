package monitor

import (
	"math/bits"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock-go/penstock/drain/status"
)

// ofListener has the metrics of a listener. They count since the process began.
var ofListener = func() *table[status.Listener] {
	t := &table[status.Listener]{labels: []string{"class", "listener"}}
	t.gauge("listener_up", "Whether the listener can receive.", func(l *status.Listener) float64 { return is(l.Err == "") })
	t.counter("listener_received_records_total", "Records that reached the listener, lost ones included.", func(l *status.Listener) float64 { return float64(l.Received.Records) })
	t.counter("listener_received_bytes_total", "Payload bytes that reached the listener, as far as they were seen.", func(l *status.Listener) float64 { return float64(l.Received.Bytes) })
	t.counter("listener_lost_records_total", "Records that reached the listener and could not be kept; see penstock_lost_records_total for the causes.", func(l *status.Listener) float64 { return float64(l.Lost.Total().Records) })
	t.gauge("listener_in_hand_records", "Records that were received and that the spool has not taken yet.", func(l *status.Listener) float64 { return float64(l.InHand.Records) })
	t.gauge("listener_queue_bytes", "Bytes that wait in the sockets, as the kernel charges them.", func(l *status.Listener) float64 { return float64(l.Queue) })
	t.gauge("listener_receive_buffer_bytes", "Bytes that fit into the sockets of a listener for datagrams, as the kernel charges them.", func(l *status.Listener) float64 { return known(l.ReceiveBuffer) })
	t.gauge("listener_receive_buffer_records", "Datagrams of the mean length so far that fit into the sockets. It should be a second's worth at least.", bufferRecords)
	t.gauge("listener_kernel_drops_known", "Whether the losses include what the kernel has dropped.", func(l *status.Listener) float64 { return is(l.DropsKnown) })
	t.gauge("listener_last_record_timestamp_seconds", "When the newest record was read.", func(l *status.Listener) float64 { return at(l.LastRecord) })
	t.gauge("listener_connections", "Open connections.", func(l *status.Listener) float64 { return float64(l.Stream.Connections) })
	t.counter("listener_refused_connections_total", "Connections over a limit.", func(l *status.Listener) float64 { return float64(l.Stream.Refused) })
	t.counter("listener_reset_connections_total", "Connections that ended without their peer's close. What the peer had not sent yet is lost, and cannot be counted.", func(l *status.Listener) float64 { return float64(l.Stream.Resets) })
	t.counter("listener_proxy_malformed_total", "Connections and datagrams of a trusted proxy without a valid PROXY header.", func(l *status.Listener) float64 { return float64(l.ProxyMalformed) })
	t.counter("listener_proxy_ignored_total", "Connections and datagrams with a PROXY header from an address that is not trusted.", func(l *status.Listener) float64 { return float64(l.ProxyIgnored) })
	t.gauge("listener_certificate_expiry_timestamp_seconds", "Until when the TLS certificate is valid that was used last.", func(l *status.Listener) float64 { return at(l.CertificateEnds) })
	t.counter("listener_panics_total", "Panics in the program's own framer, attributes, TLS callback or hooks.", func(l *status.Listener) float64 { return float64(l.Panics) })
	return t
}()

// ofSocket has the metrics of one socket of a listener for datagrams.
var ofSocket = func() *table[status.Socket] {
	t := &table[status.Socket]{labels: []string{"class", "listener", "socket"}}
	t.gauge("socket_queue_bytes", "Bytes that wait in the socket, as the kernel charges them.", func(s *status.Socket) float64 { return float64(s.Queue) })
	t.gauge("socket_receive_buffer_bytes", "Bytes that fit: the receive buffer that the kernel granted.", func(s *status.Socket) float64 { return known(s.ReceiveBuffer) })
	t.gauge("socket_requested_buffer_bytes", "The receive buffer that was requested.", func(s *status.Socket) float64 { return known(s.Requested) })
	t.counter("socket_kernel_drops_total", "Datagrams that the kernel has dropped.", func(s *status.Socket) float64 { return float64(s.Drops) })
	return t
}()

// sendListener exports a listener. seen counts the listeners of each address: one with inherited sockets may exist twice.
func sendListener(ch chan<- prometheus.Metric, class []*dto.LabelPair, l *status.Listener, seen map[string]int) {
	name := l.Network + "://" + l.Addr
	if seen[name]++; seen[name] > 1 {
		name += "#" + strconv.Itoa(seen[name])
	}
	labels := with(class, "listener", name)
	ofListener.send(ch, labels, l)
	for i := range l.Sockets {
		ofSocket.send(ch, with(labels, "socket", strconv.Itoa(i)), &l.Sockets[i])
	}
}

// bufferRecords returns how many datagrams of the mean length fit into the sockets of a listener for datagrams; unknown
// for other listeners.
func bufferRecords(l *status.Listener) float64 {
	if l.ReceiveBuffer == 0 {
		return unknown
	}
	mean := uint64(0)
	if l.Received.Records > 0 {
		mean = l.Received.Bytes / l.Received.Records
	}
	return float64(l.ReceiveBuffer / charge(mean))
}

// charge returns the memory that Linux charges for a datagram: sk_buff, and a buffer whose size is a power of two with
// room for the headers, the payload and skb_shared_info. It gives 1,280 for 512 bytes, 2,304 for 1,400 and 16,640 for
// 8,900.
func charge(payload uint64) int64 {
	const descriptor, around = 256, 390
	return descriptor + 1<<bits.Len64(payload+around-1)
}
