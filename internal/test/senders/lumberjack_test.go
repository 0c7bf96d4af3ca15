package senders

import (
	"encoding/json"
	"testing"
	"time"

	lumber "github.com/elastic/go-lumber/client/v2"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/fluentforward"
	"github.com/penstock-go/penstock/ingest/lumberjack"
)

// framings are those of this test's URLs.
var framings = map[string]ingest.Framing{"lumberjack": lumberjack.Framing, "fluent": fluentforward.Framing}

type lumberClient struct{ *lumber.SyncClient }

func (c lumberClient) send(events []event) error {
	data := make([]any, len(events))
	for i, e := range events {
		data[i] = e
	}
	_, err := c.Send(data)
	return err
}

// TestLumberjackKilled is go-lumber, the client of Beats, with and without compression.
func TestLumberjackKilled(t *testing.T) {
	for name, level := range map[string]int{"compressed": 3, "plain": 0} {
		t.Run(name, func(t *testing.T) {
			parse := func(data []byte) (e event, err error) { err = json.Unmarshal(data, &e); return e, err }
			killed(t, "lumberjack://127.0.0.1:0", parse, func(addr string) (client, error) {
				c, err := lumber.SyncDial(addr, lumber.CompressionLevel(level), lumber.Timeout(30*time.Second))
				return lumberClient{c}, err
			})
		})
	}
}
