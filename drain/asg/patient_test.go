package asg

import (
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// TestRequestsEnd: a connection to the API that goes silent does not keep Complete from its next attempt.
func TestRequestsEnd(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	_, s, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, ok := s.(service).c.Options().HTTPClient.(*awshttp.BuildableClient)
	if !ok || c.GetTimeout() != callTimeout {
		t.Errorf("an answer may take %v (%v)", c.GetTimeout(), ok)
	}
}
