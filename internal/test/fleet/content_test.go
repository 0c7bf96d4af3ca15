//go:build linux

package fleet

import (
	"encoding/json"
	"testing"
)

// TestParseLine: a line is read as encoding/json reads it, whatever it contains.
func TestParseLine(t *testing.T) {
	for _, line := range []string{
		`{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"run=a src=1 seq=2 crc=1","spool":"4k7q"}`,
		`{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"","data":"","spool":"4k7q"}`,
		`{"seq":18,"ts":"x","src":"","attrs":{"listener":"vpn"},"data":"run=a","spool":"4k7q"}`,
		`{"seq":18,"ts":"x","src":"","data":"a \"quoted\" word, \"spool\":\"no\"","spool":"4k7q"}`,
		`{"seq":18,"ts":"x","src":"","data_b64":"AAEC","spool":"4k7q"}`,
		`{"ts":"x","data":"y","spool":"z","seq":5}`,
	} {
		var want struct {
			Seq         uint64
			Data, Spool string
		}
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		if got, err := parseLine([]byte(line)); err != nil || got.Seq != want.Seq || string(got.Data) != want.Data || string(got.Spool) != want.Spool {
			t.Errorf("%s: %d %q %q %v", line, got.Seq, got.Data, got.Spool, err)
		}
	}
	for _, line := range []string{``, `{"seq":17,"ts":"`, `{"seq":-1,"ts":"x","src":"","data":"y","spool":"z"}`, `{"seq":1,"ts":"x","src":"","data":"y","spool":"z"`} {
		if got, err := parseLine([]byte(line)); err == nil {
			t.Errorf("%s: %+v", line, got)
		}
	}
}
