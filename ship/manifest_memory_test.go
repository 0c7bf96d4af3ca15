package ship

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// TestManifestMemory: no forged line makes a reader use many times the line's size in memory.
func TestManifestMemory(t *testing.T) {
	const most = 48 << 20
	good, err := exampleManifest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	line := func(head, part, end string, n int) []byte {
		return append([]byte(head+strings.Repeat(part, n)+end+"\n"), good...)
	}
	for name, forged := range map[string][]byte{
		"versions":    line(`{"pad":"`+strings.Repeat("x", 256<<10)+`"`, `,"version":5`, `}`, 200),
		"forgotten":   line(`{"type":"header","version":4,"forgotten":[""`, `,""`, `]}`, 340_000),
		"gaps":        line(`{"type":"header","version":4}`+"\n"+`{"type":"segment","gaps":[{}`, `,{}`, `]}`, 340_000),
		"unaccounted": line(`{"type":"header","version":4}`+"\n"+`{"type":"loss","unaccounted":[{}`, `,{}`, `]}`, 340_000),
	} {
		// Its header is in the valid form, so that only the line fails.
		header, _, _ := bytes.Cut(good, []byte("\n"))
		forged = bytes.Replace(forged, []byte(`{"type":"header","version":4}`+"\n"), append(header, '\n'), 1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := DecodeManifest(bytes.NewReader(forged))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most || !errors.Is(err, ErrVerify) || len(err.Error()) > 1<<16 {
			t.Errorf("%s: %d KiB for %d, %.300v", name, n>>10, len(forged)>>10, err)
		}
	}
}
