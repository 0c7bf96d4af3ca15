package senders

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	ibm "github.com/IBM/fluent-forward-go/fluent/client"
	"github.com/IBM/fluent-forward-go/fluent/protocol"
)

// began is the time of every event, which must come through.
var began = time.Date(2026, 11, 28, 22, 32, 0, 123456789, time.UTC)

func parseFluent(data []byte) (event, error) {
	var d struct {
		Tag    string
		Time   time.Time
		Record event
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d.Record, err
	}
	if d.Tag != "app.web" || !d.Time.Equal(began) && time.Since(d.Time).Abs() > time.Hour { // SendMessage takes the clock's
		return d.Record, errors.New("another tag or time")
	}
	return d.Record, nil
}

// ibmClient is IBM's client.
type ibmClient struct {
	*ibm.Client
	post func(c *ibm.Client, entries protocol.EntryList) error
}

func (c ibmClient) send(events []event) error {
	entries := make(protocol.EntryList, len(events))
	for i, e := range events {
		entries[i] = protocol.EntryExt{Timestamp: protocol.EventTime{Time: began}, Record: map[string]any{"n": e.N, "pad": e.Pad}}
	}
	return c.post(c.Client, entries)
}

func (c ibmClient) Close() error { return c.Disconnect() }

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
			killed(t, "fluent://127.0.0.1:0", parseFluent, func(addr string) (client, error) {
				c := ibm.New(ibm.ConnectionOptions{Factory: &ibm.ConnFactory{Address: addr}, RequireAck: true, ConnectionTimeout: 30 * time.Second})
				return ibmClient{c, post}, c.Connect()
			})
		})
	}
}
