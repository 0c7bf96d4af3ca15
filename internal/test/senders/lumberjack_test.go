package senders

import (
	"encoding/json"
	"errors"
	"fmt"
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
			Killed(t, "lumberjack://127.0.0.1:0", parseLumberjack, func(addr string) (Client, error) {
				c, err := lumber.SyncDial(addr, lumber.CompressionLevel(level), lumber.Timeout(30*time.Second))
				return lumberClient{c}, err
			})
		})
	}
}

// asyncClient sends several windows before it waits, as Filebeat does.
type asyncClient struct{ client *lumber.AsyncClient }

func (c asyncClient) Send(events []Event) error {
	const windows = 4
	answers := make(chan error, windows)
	for i := range windows {
		part := events[i*len(events)/windows : (i+1)*len(events)/windows]
		data := make([]any, len(part))
		for k, e := range part {
			data[k] = e
		}
		err := c.client.Send(func(seq uint32, err error) {
			if err == nil && int(seq) != len(part) {
				err = fmt.Errorf("%d of %d are acknowledged", seq, len(part))
			}
			answers <- err
		}, data)
		if err != nil {
			return err
		}
	}
	var errs []error
	for range windows {
		errs = append(errs, <-answers)
	}
	return errors.Join(errs...)
}

func (c asyncClient) Close() error { return c.client.Close() }

// TestLumberjackPipelined is go-lumber with several windows on their way.
func TestLumberjackPipelined(t *testing.T) {
	Killed(t, "lumberjack://127.0.0.1:0", parseLumberjack, func(addr string) (Client, error) {
		c, err := lumber.AsyncDial(addr, 4, lumber.CompressionLevel(3), lumber.Timeout(30*time.Second))
		return asyncClient{c}, err
	})
}

func parseLumberjack(data []byte) (e Event, err error) {
	err = json.Unmarshal(data, &e)
	return e, err
}
