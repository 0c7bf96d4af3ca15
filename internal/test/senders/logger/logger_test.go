// Package logger is apart from the others, since both clients register MessagePack's extension type 0.
package logger

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"

	"github.com/penstock-go/penstock/internal/test/senders"
)

func TestMain(m *testing.M) { senders.Main(m) }

// client is Fluent's own client for Go, which sends single messages.
type client struct{ *fluent.Fluent }

func (c client) Send(events []senders.Event) error {
	for _, e := range events {
		if err := c.PostWithTime("app.web", senders.Began, e); err != nil {
			return err
		}
	}
	return nil
}

// TestFluentLoggerKilled is fluent-logger-golang.
func TestFluentLoggerKilled(t *testing.T) {
	senders.Killed(t, "fluent://127.0.0.1:0", senders.ParseFluent, func(addr string) (senders.Client, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		c, err := fluent.New(fluent.Config{
			FluentHost: host, FluentPort: n, RequestAck: true, SubSecondPrecision: true,
			ReadTimeout: 30 * time.Second, MaxRetry: 1, RetryWait: 1,
		})
		return client{c}, err
	})
}
