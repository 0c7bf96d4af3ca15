package ship

import (
	"fmt"
	"regexp"
)

// The names below a destination's prefix that are not data.
const (
	// ManifestPrefix holds the chains: `_manifest/<class>/<spool>/<epoch>/<number>.jsonl`. A leading underscore hides a
	// folder from Hadoop and Athena.
	ManifestPrefix = "_manifest/"
	// TempPrefix holds temporary files, `_tmp/<spool>/`, on destinations that need them.
	TempPrefix = "_tmp/"
)

const (
	maxEpoch  = 999_999         // 6 digits
	maxNumber = 999_999_999_999 // 12 digits
	// spoolIDLen is the length of a spool id.
	spoolIDLen = 26
	// maxSequence is the largest integer that every JSON reader keeps exact. A spool that keeps a million records a second
	// reaches it after 285 years.
	maxSequence = 1 << 53
)

var (
	classPattern       = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)
	spoolPattern       = regexp.MustCompile(`^[0-9a-z]{26}$`) // spoolIDLen characters
	destinationPattern = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
)

// ManifestKey returns the key of a manifest.
func ManifestKey(class, spool string, epoch uint32, number uint64) string {
	return fmt.Sprintf("%s%s/%s/%06d/%012d.jsonl", ManifestPrefix, class, spool, epoch, number)
}

// ClosingKey returns the key of a closing, whose sum is the SHA-256 of its bytes.
func ClosingKey(class, spool string, epoch uint32, number uint64, sum [32]byte) string {
	return fmt.Sprintf("%s%s/%s/closed/%06d-%012d-%x.json", ManifestPrefix, class, spool, epoch, number, sum[:8])
}

// HeadKey returns the key under which the head of another destination's chain is kept.
func HeadKey(class, spool string, epoch uint32, destination string, number uint64) string {
	return fmt.Sprintf("%s%s/%s/%06d/heads/%s-%012d.json", ManifestPrefix, class, spool, epoch, destination, number)
}
