package cli

import (
	"strings"
	"testing"
)

func TestPageURL(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:8080", "https://[::1]:443/penstock/", "http://host"} {
		if u, err := PageURL(good); err != nil || u.String() != good {
			t.Errorf("%s: %v, %v", good, u, err)
		}
	}
	for _, bad := range []string{
		"", "localhost", "localhost:8080", "ftp://host", "http:/secret", "http://u:secret@host", "http://secret@host", "http://host?token=secret",
		"http://host#secret", "http://host:secret/", "http://u:secret@ho st", "http://host?", "http://host#", "u:secret@host", "http://%zzsecret",
	} {
		if u, err := PageURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", bad, u, err)
		}
	}
}
