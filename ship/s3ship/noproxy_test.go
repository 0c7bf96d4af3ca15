package s3ship

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestCredentialsWithoutProxy: with a proxy in the environment, the credentials of the instance's role are still fetched
// from the host itself. A proxy would fetch its own host's, or nothing.
func TestCredentialsWithoutProxy(t *testing.T) {
	if os.Getenv("S3SHIP_TEST_CREDENTIALS") != "" { // the process below
		b, err := Open(t.Context(), "s3://bucket/prefix?region=eu-west-1", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		v, err := b.credentials.Retrieve(t.Context())
		if err != nil || v.AccessKeyID != "AKIDHOST" {
			t.Fatalf("%q, %v", v.AccessKeyID, err)
		}
		return
	}
	var through atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		through.Add(1)
		http.Error(w, "not through here", http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	ln, err := net.Listen("tcp4", ":0") // 0.0.0.0 reaches this host, and is not loopback, for which no proxy is used
	if err != nil {
		t.Fatal(err)
	}
	meta := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			fmt.Fprint(w, "token")
		case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
			fmt.Fprint(w, "role")
		case strings.HasSuffix(r.URL.Path, "/security-credentials/role"), r.URL.Path == "/container":
			fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"AKIDHOST","SecretAccessKey":"s","Token":"t","Expiration":%q}`,
				time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		default:
			http.NotFound(w, r)
		}
	})}}
	meta.Config.SetKeepAlivesEnabled(false) // the SDK's client cannot be told to close its connections
	meta.Start()
	t.Cleanup(meta.Close)
	cmd := exec.Command(os.Args[0], "-test.run=^TestCredentialsWithoutProxy$", "-test.v")
	cmd.Env = []string{
		"S3SHIP_TEST_CREDENTIALS=1", "HTTP_PROXY=" + proxy.URL, "HTTPS_PROXY=" + proxy.URL, "HOME=" + t.TempDir(),
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + meta.URL,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := through.Load(); n > 0 {
		t.Errorf("%d requests for credentials went to the proxy", n)
	}
}
