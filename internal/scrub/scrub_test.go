package scrub

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestScrub: no credential and no control character is left in a text, whatever surrounds them; the rest stays readable.
func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"put https://user:hunter2@s3.example/b: refused", "put https://…@s3.example/b: refused"},
		{"sftp://token@host:22/dir", "sftp://…@host:22/dir"},
		{"GET /b?X-Amz-Credential=AKIDhunter2%2Fx&X-Amz-Signature=hunter2&n=1", "GET /b?X-Amz-Credential=…&X-Amz-Signature=…&n=1"},
		{`{"secret_access_key": "hunter2", "region": "eu"}`, `{"secret_access_key": "…", "region": "eu"}`},
		{"password=hunter2; user=ops", "password=…; user=ops"},
		{"Authorization: AWS4-HMAC-SHA256 Credential=hunter2, Signature=hunter2", "Authorization: …"},
		{"with Bearer hunter2.hunter2.hunter2", "with Bearer …"},
		{"key AKIAIOSFODNN7EXAMPLE is unknown", "key … is unknown"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----", "…"},
		{"two\nlines\tand \x1b[2J\x00\x7f\u202ebidi", "two lines and ·[2J···bidi"},
		{"not UTF-8: \xff\xfe", "not UTF-8: ·"},
		{"open /etc/penstock/key: no such file or directory", "open /etc/penstock/key: no such file or directory"},
		{"dial tcp 10.0.0.1:443: connection refused", "dial tcp 10.0.0.1:443: connection refused"},
		{"https://host/path?key=/etc/penstock/id&known_hosts=/x@y", "https://host/path?key=/etc/penstock/id&known_hosts=/x@y"},
	} {
		got := Text(c.in, 1000)
		if strings.Contains(got, "hunter2") {
			t.Errorf("%q: a secret is left: %q", c.in, got)
		}
		if normal := strings.ReplaceAll(got, "…@", "…"); normal != strings.ReplaceAll(c.want, "…@", "…") {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
	if got := Text(strings.Repeat("é", 1000), 99); len(got) > 99+len("…") || !utf8.ValidString(got) {
		t.Errorf("cut to %d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}
