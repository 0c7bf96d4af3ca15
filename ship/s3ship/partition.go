package s3ship

import "strings"

// partition is one of the separate clouds that AWS runs.
type partition struct {
	name    string // as ARNs begin: arn:<name>:s3:::bucket
	regions string // prefix of their names
	domains []string
}

// partitions, from the SDK's endpoint rules. The first one is that of all other regions.
var partitions = []partition{
	{"aws", "", []string{"amazonaws.com", "api.aws"}},
	{"aws-cn", "cn-", []string{"amazonaws.com.cn", "api.amazonwebservices.com.cn"}},
	{"aws-us-gov", "us-gov-", []string{"amazonaws.com", "api.aws"}},
	{"aws-iso", "us-iso-", []string{"c2s.ic.gov"}},
	{"aws-iso-b", "us-isob-", []string{"sc2s.sgov.gov"}},
	{"aws-iso-e", "eu-isoe-", []string{"cloud.adc-e.uk"}},
	{"aws-iso-f", "us-isof-", []string{"csp.hci.ic.gov"}},
	{"aws-eusc", "eusc-", []string{"amazonaws.eu", "api.amazonwebservices.eu"}},
}

// partitionOf returns the partition of a region.
func partitionOf(region string) partition {
	for _, p := range partitions[1:] {
		if strings.HasPrefix(region, p.regions) {
			return p
		}
	}
	return partitions[0]
}

// amazon reports whether a host is Amazon's own, in any partition.
func amazon(host string) bool {
	for _, p := range partitions {
		for _, d := range p.domains {
			if strings.HasSuffix(host, "."+d) {
				return true
			}
		}
	}
	return false
}

// arn returns the ARN of the bucket, or of the objects below it.
func (b *Destination) arn(below string) string {
	p := partitions[0]
	if b.client != nil {
		p = partitionOf(b.client.Options().Region)
	}
	return "arn:" + p.name + ":s3:::" + b.bucket + below
}
