package ingest

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAllowanceOf(t *testing.T) {
	// In the order and among the neighbours that the driver's source has.
	names := []string{
		"tx_timeout", "suspend", "bw_in_allowance_exceeded", "bw_out_allowance_exceeded", "pps_allowance_exceeded",
		"conntrack_allowance_exceeded", "linklocal_allowance_exceeded", "conntrack_allowance_available", "queue_0_rx_cnt",
	}
	values := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}
	want := Allowance{Interface: "ens5", BandwidthIn: 3, PacketRate: 5, Conntrack: 6}
	if got, ok := allowanceOf("ens5", names, values); got != want || !ok {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, ok := allowanceOf("ens5", names[:2], values); ok {
		t.Errorf("an old driver: %+v", got)
	}
	if got, ok := allowanceOf("ens5", names, values[:3]); !ok || got.BandwidthIn != 3 || got.PacketRate != 0 {
		t.Errorf("too few values: %+v", got)
	}
}

// Earlier counts are not reported; an interface that is attached later and a driver whose counters restart are.
func TestAllowanceSince(t *testing.T) {
	earlier := []Allowance{{"ens5", 10, 20, 30}, {"ens6", 7, 7, 7}}
	now := []Allowance{{"ens5", 11, 20, 35}, {"ens6", 1, 0, 7}, {"ens7", 1, 2, 3}}
	want := []Allowance{{"ens5", 1, 0, 5}, {"ens6", 1, 0, 0}, {"ens7", 1, 2, 3}}
	if got := since(now, earlier); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if now[0].BandwidthIn != 11 {
		t.Error("the sample that all listeners share was changed")
	}
	if got := since(nil, earlier); got != nil {
		t.Errorf("nothing known is %v, not unknown", got)
	}
}

// All listeners together ask once, and each warns of what has moved.
func TestAllowancesWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := uint64(0)
		h := &allowances{read: func() []Allowance {
			asked++
			return []Allowance{{Interface: "ens5", PacketRate: 100 + asked/2}} // moves each second time
		}}
		var out bytes.Buffer
		log := newLimiter(slog.New(slog.NewTextHandler(&out, nil)))
		first := h.now()
		if got := h.watch(h.watch(first, log), log); asked != 1 || !slices.Equal(got, first) {
			t.Errorf("asked %d times", asked)
		}
		if out.Len() > 0 {
			t.Errorf("nothing had moved: %s", &out)
		}
		time.Sleep(pollEvery)
		h.watch(first, log)
		if line := out.String(); !strings.Contains(line, "before the kernel") || !strings.Contains(line, "interface=ens5") ||
			!strings.Contains(line, "packet_rate=1 ") {
			t.Errorf("%q", line)
		}
	})
}
