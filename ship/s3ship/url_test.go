package s3ship

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenListsAllMistakes(t *testing.T) {
	keys(t, access, secret)
	_, err := Open(t.Context(), "s3://B_/a//b?regoin=x&path_style=perhaps&endpoint=ftp://h&part_size=1MiB&concurrency=-1&stall_timeout=5&attempts=x"+
		"&sse=rot13&storage_class=DEEP_ARCHIVE&object_lock_mode=SOFT&tags=%3Dv&bucket_owner=me&region=a&region=b&compat=", nil)
	if err == nil {
		t.Fatal("Open succeeds")
	}
	for _, want := range []string{
		`bucket "B_"`, "prefix", `unknown parameter "regoin": known are attempts, bucket_owner, ca_file`, `path_style: "perhaps"`, "the endpoint is not http",
		"part_size", "concurrency -1", `stall_timeout: "5"`, `attempts: "x"`, `sse "rot13"`, "storage_class DEEP_ARCHIVE", `object_lock_mode "SOFT"`,
		"object_lock_mode and object_lock_for", "tags:", `bucket_owner "me"`, "region is given 2 times", "compat is empty",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	keys(t, access, secret)
	for url, want := range map[string]string{
		"http://bucket":                                      "scheme",
		"s3://AKID:topsecret@bucket/p":                       "credentials do not belong",
		"s3://bucket/p?endpoint=http://AKID:topsecret@h":     "more than scheme",
		"s3://bucket/%zz?x=topsecret":                        "cannot be read",
		"s3://bucket/p?region=%zztopsecret":                  "cannot be read",
		"s3://bucket/p#x":                                    "%23",
		"s3://bucket":                                        "no region",
		"s3://bucket/p?region=r&ca_file=/none/there":         "ca_file",
		"s3://bucket/p?region=r&profile=nobody":              "profile",
		"s3://bucket/p?region=r&sse=AES256&sse_kms_key_id=k": "sse=aws:kms",
		"s3://": "bucket",
	} {
		b, err := Open(t.Context(), url, nil)
		if err == nil {
			b.Close()
			t.Errorf("Open(%q) succeeds", url)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "s3ship: ") {
			t.Errorf("Open(%q): %v, want %q", url, err, want)
		}
		if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("Open(%q): the error holds the secret", url)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	writeFile(t, empty, "no certificate")
	if _, err := Open(t.Context(), "s3://bucket/p?region=r&ca_file="+empty, nil); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("Open with an empty CA file: %v", err)
	}
}

func TestParse(t *testing.T) {
	bucket, prefix, o, err := parse("s3://my.bucket/a/b/?part_size=64MiB&object_lock_mode=COMPLIANCE&object_lock_for=720h&tags=k%3Dv%26l%3Dw&requester_pays=1&sse_kms_key_id=key",
		&Options{Region: "default", Concurrency: 7})
	if err != nil {
		t.Fatal(err)
	}
	if bucket != "my.bucket" || prefix != "a/b" || o.PartSize != 64<<20 || o.LockFor != 720*time.Hour || o.tagging() != "k=v&l=w" || !o.RequesterPays ||
		o.Region != "default" || o.Concurrency != 7 || o.withDefaults().Encryption != "aws:kms" {
		t.Errorf("%s %s %+v", bucket, prefix, o)
	}
}

// TestLocation: two ways to write one place give one name.
func TestLocation(t *testing.T) {
	keys(t, access, secret)
	for url, want := range map[string]string{
		"s3://bucket/p?region=eu-west-1":                                                         "s3://bucket/p",
		"s3://bucket//p/?region=eu-west-1&endpoint=https://s3.eu-west-1.amazonaws.com":           "s3://bucket/p",
		"s3://bucket?region=r":                                                                   "s3://bucket",
		"s3://bucket/p?endpoint=http://Host.Example:80/":                                         "s3://bucket/p at http://host.example",
		"s3://bucket/p?endpoint=http://host.example&path_style=true&compat=true&region=anywhere": "s3://bucket/p at http://host.example",
		"s3://bucket/p?endpoint=https://host.example:9000":                                       "s3://bucket/p at https://host.example:9000",
	} {
		b, err := Open(t.Context(), url, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := b.Location(); got != want {
			t.Errorf("Location of %s = %q, want %q", url, got, want)
		}
		b.Close()
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://from.env:9000")
	b, err := Open(t.Context(), "s3://bucket/p", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := b.Location(); got != "s3://bucket/p at http://from.env:9000" {
		t.Errorf("Location with an endpoint from the environment = %q", got)
	}
}

// FuzzParse: whatever the URL, an error or a place that is clean.
func FuzzParse(f *testing.F) {
	f.Add("s3://bucket/prefix?endpoint=http://h:1&path_style=true&region=r")
	f.Add("s3://u:p@bucket/../x?tags=%3D&part_size=5GiB#f")
	f.Fuzz(func(t *testing.T, raw string) {
		bucket, prefix, o, err := parse(raw, nil)
		if err != nil {
			return
		}
		if checkPlace(bucket, prefix) != nil || o.withDefaults().validate() != nil {
			t.Errorf("%q: %q %q %+v", raw, bucket, prefix, o)
		}
	})
}
