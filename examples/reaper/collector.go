package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// collector queries the collector of this host through its status page.
type collector struct {
	url    string // http://127.0.0.1:8080
	client *http.Client
}

func newCollector(url string) *collector {
	return &collector{url, &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: nil}}}
}

// maxAnswer bounds the list of adoptions.
const maxAnswer = 16 << 20

// adoption returns what the collector reports about the spool in dir. The state is delivered once every destination has
// confirmed every object that contains the spool's records.
func (c *collector) adoption(ctx context.Context, dir string) (Adoption, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/adoptions", nil)
	if err != nil {
		return Adoption{}, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return Adoption{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Adoption{}, fmt.Errorf("%s/adoptions: %s", c.url, resp.Status)
	}
	var all []struct{ Dir, State, Error string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&all); err != nil {
		return Adoption{}, fmt.Errorf("%s/adoptions: %w", c.url, err)
	}
	var above Adoption
	for _, a := range all {
		at := filepath.Clean(a.Dir)
		if at == dir {
			return Adoption{a.State, a.Error}, nil
		}
		if strings.HasPrefix(dir, at+"/") { // an entry for a directory that the collector cannot read
			above.Err = a.Error
		}
	}
	return above, nil
}
