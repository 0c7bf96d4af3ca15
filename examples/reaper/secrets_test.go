package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// planted are secrets by what they are.
type planted map[string]string

func (p planted) plant(what string) string {
	p[what] = "Planted" + rand.Text()
	return p[what]
}

// found returns which secrets a text contains, as they are or encoded.
func (p planted) found(text string) (all []string) {
	for what, secret := range p {
		for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(text, form) {
				all = append(all, what)
				break
			}
		}
	}
	return all
}

// metadataService answers as that of an instance which has a role.
func metadataService(t *testing.T, secret, token string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimPrefix(r.URL.Path, "/latest/"); {
		case path == "api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "session")
		case path == "dynamic/instance-identity/document":
			fmt.Fprint(w, `{"region":"eu-central-1","instanceId":"i-1","availabilityZone":"eu-central-1a"}`)
		case path == "meta-data/iam/security-credentials/":
			fmt.Fprint(w, "penstock")
		case path == "meta-data/iam/security-credentials/penstock":
			fmt.Fprintf(w, `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIAROLE","SecretAccessKey":%q,"Token":%q,"Expiration":%q}`,
				secret, token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		case path == "meta-data/autoscaling/target-lifecycle-state":
			fmt.Fprint(w, "InService")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestSecrets runs the reaper with secrets in every setting that can have one, with credentials of its instance's role, against a metadata
// service and EC2, which refuses requests and then lets it attach a volume. Nothing that it prints contains a secret.
func TestSecrets(t *testing.T) {
	p := planted{}
	tmp := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for k, v := range map[string]string{
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadataService(t, p.plant("the role's key"), p.plant("the role's session token")),
		"AWS_EC2_METADATA_DISABLED":         "false",
		"AWS_SHARED_CREDENTIALS_FILE":       write("credentials", "[other]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = "+p.plant("the key of a profile")+"\n"),
		"AWS_CONFIG_FILE":                   filepath.Join(tmp, "none"),
		"AWS_ACCESS_KEY_ID":                 "",
		"AWS_SECRET_ACCESS_KEY":             "",
		"AWS_PROFILE":                       "",
		"DATABASE_PASSWORD":                 p.plant("another program's variable"),
	} {
		t.Setenv(k, v)
	}
	e := newFakeEC2(t, func() time.Time { return time.Now().Add(-time.Hour) }) // the volume is not new
	e.launch("vol-1", "")
	sawKey := false
	ec2 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sawKey = sawKey || strings.Contains(r.Header.Get("Authorization"), "ASIAROLE")
		e.ServeHTTP(w, r)
	}))
	t.Cleanup(ec2.Close)
	t.Setenv("AWS_ENDPOINT_URL_EC2", ec2.URL)

	var said string
	reap := func(want int, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, os.Environ(), &out, &errs); code != want {
			t.Errorf("%q: exit code %d, want %d: %s", args, code, want, &errs)
		}
		said += out.String() + errs.String()
		for _, what := range p.found(out.String() + errs.String()) {
			t.Errorf("%s is in:\n%s%s", what, &out, &errs)
		}
	}
	place := "file://" + filepath.Join(tmp, "place")
	if err := os.Mkdir(filepath.Join(tmp, "place"), 0o700); err != nil {
		t.Fatal(err)
	}
	base := []string{"-fleet", "penstock", "-once", "-log-level", "debug", "-orphans", filepath.Join(tmp, "orphans"), "-mount", filepath.Join(tmp, "no.sock"), "-collector", "http://127.0.0.1:1"}
	with := func(args ...string) []string { return append(append([]string{}, base...), args...) }

	e.faulty = func() fault { return failsBefore }
	reap(exitError, with("-at", place, "-apply")...)
	e.mu.Lock()
	e.faulty = func() fault { return works }
	e.mu.Unlock()
	reap(0, with("-at", place, "-apply")...)
	if !sawKey || e.calls["AttachVolume"] == 0 {
		t.Errorf("EC2 saw %v, with the role's key: %v:\n%s", e.calls, sawKey, said)
	}
	password := write("password", p.plant("the SFTP password"))
	known := write("known_hosts", "")
	for _, at := range []string{
		"s3://bucket/p?endpoint=http://127.0.0.1:1&region=us-east-1&profile=other", "sftp://ops@127.0.0.1:1/in?password_file=" + password + "&known_hosts=" + known,
	} {
		reap(0, with("-at", at, "-apply")...)
	}
	reap(exitUsage, with("-at", place, "-pubkey", write("half.pem", "-----BEGIN PRIVATE KEY-----\n"+p.plant("half a signing key")+"\n"))...)
	for _, form := range []string{"s3://AKID:%s@bucket/p", "sftp://u:%s@host/dir", "sftp://u@h/d?password=%s", "u:%s@h", "file:///d?password=%s"} {
		at := fmt.Sprintf(form, p.plant("the secret in "+form))
		reap(exitFailed, with("-at", at)...)
		reap(exitFailed, "-once", "-config", write("reaper.yaml", "fleet: penstock\nat: "+at+"\n"))
	}
	for _, form := range []string{"http://ops:%s@127.0.0.1:1", "http://127.0.0.1:1/?token=%s", "ops:%s@h", "http://ops:%s@h:x"} {
		reap(exitUsage, with("-at", place, "-collector", fmt.Sprintf(form, p.plant("the secret in the page "+form)))...)
	}
	reap(exitUsage, "-config", write("wrong.yaml", "passwort: "+p.plant("a value of a misspelled key")+"\n"))
	for what, secret := range p {
		if got := p.found("x" + base64.StdEncoding.EncodeToString([]byte(secret))); len(got) != 1 || got[0] != what {
			t.Errorf("the search finds %q in %s", got, what)
		}
	}
	if !strings.Contains(said, "vol-1") || !strings.Contains(said, "passwort") {
		t.Errorf("the reaper has said little:\n%s", said)
	}
}
