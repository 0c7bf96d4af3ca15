package direct

import (
	"net/http"
	"net/url"
	"testing"
)

// TestProxy: requests to a service of the host use no proxy, and all others use that of the environment.
func TestProxy(t *testing.T) {
	before := environment
	t.Cleanup(func() { environment = before })
	proxy := &url.URL{Scheme: "http", Host: "proxy:3128"}
	environment = func(*http.Request) (*url.URL, error) { return proxy, nil }
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://10.9.8.7:1338")
	for to, direct := range map[string]bool{
		"http://169.254.169.254/latest/api/token":          true,
		"http://[fd00:ec2::254]/latest/api/token":          true,
		"http://169.254.170.2/v2/credentials":              true,
		"http://169.254.170.23/v1/credentials":             true,
		"http://[fd00:ec2::23]/v1/credentials":             true,
		"http://[::ffff:169.254.169.254]/latest/api/token": true,
		"http://10.9.8.7:1338/latest/api/token":            true,
		"http://10.9.8.8/":                                 false,
		"http://10.9.8.7:9000/bucket":                      false,
		"https://autoscaling.eu-west-1.amazonaws.com/":     false,
	} {
		r, err := http.NewRequest(http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := Proxy(r); err != nil || (u == nil) != direct {
			t.Errorf("%s: proxy %v, %v", to, u, err)
		}
	}
}
