package direct

import (
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// endpoints are the environment variables that point the AWS SDK to a metadata or credential service of one's own. Package
// net/http keeps requests to loopback from a proxy, not those to an address of a bridge, for example.
var endpoints = []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "ECS_AGENT_URI"}

// aws is the network of AWS's services on the host over IPv6: fd00:ec2::254 (EC2 metadata) and fd00:ec2::23 (EKS pod
// identity) are in it.
var aws = netip.MustParsePrefix("fd00:ec2::/32")

// environment is what decides about all other requests; a variable, since net/http reads the environment only once.
var environment = http.ProxyFromEnvironment

// Proxy is for http.Transport.Proxy: the proxy of the environment, but none for a service of the host.
func Proxy(r *http.Request) (*url.URL, error) {
	if ofHost(r.URL) {
		return nil, nil
	}
	return environment(r)
}

// ofHost reports whether a URL is one of those services'. They all have link-local addresses, which no proxy can reach on
// this host's behalf: 169.254.169.254 (EC2 metadata), 169.254.170.2 (ECS), 169.254.170.23 (EKS).
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
