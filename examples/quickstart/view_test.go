package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// NO_COLOR removes only colours; the view stays live.
func TestNoColor(t *testing.T) {
	defer func(a, b, c, d, e string) { dim, bold, red, green, reset = a, b, c, d, e }(dim, bold, red, green, reset)
	for _, noColor := range []string{"", "1"} {
		dim, bold, red, green, reset = colours(noColor)
		var b bytes.Buffer
		v := &view{out: &b, live: true, width: 80, begin: time.Now()}
		v.show(scene{stage: "sending", dests: []destRow{{name: "idc", down: true}}, events: []string{"idc goes away"}})
		if strings.Contains(b.String(), "\x1b[31m") == (noColor != "") {
			t.Errorf("NO_COLOR=%q: %q", noColor, b.String())
		}
		if !strings.Contains(b.String(), "\x1b[2K") {
			t.Error("the view does not draw over its lines")
		}
	}
}
