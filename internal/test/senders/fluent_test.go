package senders

import (
	"testing"
	"time"

	ibm "github.com/IBM/fluent-forward-go/fluent/client"
	"github.com/IBM/fluent-forward-go/fluent/protocol"
)

// ibmClient is IBM's client.
type ibmClient struct {
	client *ibm.Client
	post   func(c *ibm.Client, entries protocol.EntryList) error
}

func (c ibmClient) Send(events []Event) error {
	entries := make(protocol.EntryList, len(events))
	for i, e := range events {
		entries[i] = protocol.EntryExt{Timestamp: protocol.EventTime{Time: Began}, Record: map[string]any{"n": e.N, "pad": e.Pad}}
	}
	return c.post(c.client, entries)
}

func (c ibmClient) Close() error { return c.client.Disconnect() }

// TestFluentKilled is IBM's client in each mode.
func TestFluentKilled(t *testing.T) {
	for name, post := range map[string]func(c *ibm.Client, entries protocol.EntryList) error{
		"compressed": func(c *ibm.Client, entries protocol.EntryList) error { return c.SendCompressed("app.web", entries) },
		"packed":     func(c *ibm.Client, entries protocol.EntryList) error { return c.SendPacked("app.web", entries) },
		"message": func(c *ibm.Client, entries protocol.EntryList) error {
			for _, e := range entries {
				if err := c.SendMessageExt("app.web", e.Record); err != nil {
					return err
				}
			}
			return nil
		},
		"forward": func(c *ibm.Client, entries protocol.EntryList) error { return c.SendForward("app.web", entries) },
	} {
		t.Run(name, func(t *testing.T) {
			Killed(t, "fluent://127.0.0.1:0", ParseFluent, func(addr string) (Client, error) {
				c := ibm.New(ibm.ConnectionOptions{Factory: &ibm.ConnFactory{Address: addr}, RequireAck: true, ConnectionTimeout: 30 * time.Second})
				return ibmClient{c, post}, c.Connect()
			})
		})
	}
}
