package asg

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// TestRequestsEnd: if a connection to the API goes silent, Finish still makes its next attempt.
func TestRequestsEnd(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	meta := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		fmt.Fprint(w, "eu-central-1")
	}))
	t.Cleanup(meta.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", meta.URL)
	_, s, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, ok := s.(service).c.Options().HTTPClient.(*awshttp.BuildableClient)
	if !ok || c.GetTimeout() != callTimeout {
		t.Errorf("an answer may take %v (%v)", c.GetTimeout(), ok)
	}
}
