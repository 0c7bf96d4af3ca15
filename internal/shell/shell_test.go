package shell

import "testing"

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{
		"/a/b=c/d-e_f.zst": "/a/b=c/d-e_f.zst",
		"":                 "''",
		"/a b":             "'/a b'",
		"/a'; rm -rf /":    `'/a'\''; rm -rf /'`,
		"/$(id)`id`*":      "'/$(id)`id`*'",
		"/ä\\":             "'/ä\\'",
	} {
		if got := Quote(s); got != want {
			t.Errorf("Quote(%s) = %s, want %s", s, got, want)
		}
	}
}
