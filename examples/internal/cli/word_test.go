package cli

import "testing"

func TestWord(t *testing.T) {
	for s, want := range map[string]string{
		"/var/lib/penstock/vpn": "/var/lib/penstock/vpn", "": "''", "/white space": "'/white space'", "it's": `'it'\''s'`, "$(rm)": "'$(rm)'", "é": "'é'",
	} {
		if got := Word(s); got != want {
			t.Errorf("%q is %s, want %s", s, got, want)
		}
	}
}
