package direct

import (
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// endpoints are the environment variables that point the AWS SDK to another metadata or credential service. Package net/http
// sends requests to loopback directly, but would send those to a bridge address, for example, to a proxy.
var endpoints = []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "ECS_AGENT_URI"}

// aws is the prefix of AWS's services on the host over IPv6. It contains fd00:ec2::254 (EC2 metadata) and fd00:ec2::23 (EKS pod
// identity).
var aws = netip.MustParsePrefix("fd00:ec2::/32")

// environment chooses the proxy for all other requests; a variable, since net/http reads the environment only once.
var environment = http.ProxyFromEnvironment

// Proxy is for http.Transport.Proxy. It returns the proxy of the environment, but none for a service of the host.
func Proxy(r *http.Request) (*url.URL, error) {
	if ofHost(r.URL) {
		return nil, nil
	}
	return environment(r)
}

// ofHost reports whether a URL is that of a service of the host. They have link-local addresses, which no proxy can reach on
// behalf of this host: 169.254.169.254 (EC2 metadata), 169.254.170.2 (ECS), 169.254.170.23 (EKS).
func ofHost(to *url.URL) bool {
	if a, err := netip.ParseAddr(to.Hostname()); err == nil && (a.Unmap().IsLinkLocalUnicast() || aws.Contains(a)) {
		return true
	}
	for _, name := range endpoints {
		if u, err := url.Parse(os.Getenv(name)); err == nil && u.Host != "" && strings.EqualFold(u.Host, to.Host) {
			return true
		}
	}
	return false
}
