package senders

import (
	"encoding/json"
	"testing"
	"time"

	lumber "github.com/elastic/go-lumber/client/v2"
)

func TestMain(m *testing.M) { Main(m) }

type lumberClient struct{ client *lumber.SyncClient }

func (c lumberClient) Send(events []Event) error {
	data := make([]any, len(events))
	for i, e := range events {
		data[i] = e
	}
	_, err := c.client.Send(data)
	return err
}

func (c lumberClient) Close() error { return c.client.Close() }

// TestLumberjackKilled is go-lumber, the client of Beats, with and without compression.
func TestLumberjackKilled(t *testing.T) {
	for name, level := range map[string]int{"compressed": 3, "plain": 0} {
		t.Run(name, func(t *testing.T) {
			parse := func(data []byte) (e Event, err error) { err = json.Unmarshal(data, &e); return e, err }
			Killed(t, "lumberjack://127.0.0.1:0", parse, func(addr string) (Client, error) {
				c, err := lumber.SyncDial(addr, lumber.CompressionLevel(level), lumber.Timeout(30*time.Second))
				return lumberClient{c}, err
			})
		})
	}
}
