package object

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// TempDir is the directory of temporary files, at destinations that need them.
const TempDir = "_tmp"

// The prefixes of the keys of objects without records.
const (
	ManifestPrefix = "_manifest/" // chains
	ReportPrefix   = "_report/"   // reports of drains
	RepairPrefix   = "_repair/"   // notes of objects that an auditor has brought back
	MarkerPrefix   = "_complete/" // markers of hours that an auditor has found complete
	TempPrefix     = TempDir + "/"
)

// The numbers that a key has room for: 6 and 12 digits. With more, a key would sort before shorter ones.
const (
	MaxEpoch  = 999_999
	MaxNumber = 999_999_999_999
)

// ChainPrefix returns the prefix of all keys about a spool's chains.
func (o Origin) ChainPrefix() string {
	return ManifestPrefix + o.Class + "/" + o.Spool + "/"
}

// LineagePrefix returns the common prefix of ChainPrefix for all related spools: see Related.
func (o Origin) LineagePrefix() string {
	return ManifestPrefix + o.Class + "/" + Lineage(o.Spool)
}

// ManifestKey returns the key of a manifest.
func ManifestKey(class, spool string, epoch uint32, number uint64) string {
	return fmt.Sprintf("%s%06d/%012d.jsonl", Origin{class, spool}.ChainPrefix(), epoch, number)
}

// HeadKey returns the key under which the head of another destination's chain is kept.
func HeadKey(class, spool string, epoch uint32, destination string, number uint64) string {
	return fmt.Sprintf("%s%06d/heads/%s-%012d.json", Origin{class, spool}.ChainPrefix(), epoch, destination, number)
}

// ClosingKey returns the key of a closing, whose sum is the SHA-256 of its bytes.
func ClosingKey(class, spool string, epoch uint32, number uint64, sum [32]byte) string {
	return fmt.Sprintf("%sclosed/%06d-%012d-%x.json", Origin{class, spool}.ChainPrefix(), epoch, number, sum[:8])
}

// ControlKey returns a key under which no object exists if nonce is random. A destination that claims to have it is lying.
func ControlKey(class, spool, nonce string) string {
	return fmt.Sprintf("%scontrol-%s.json", Origin{class, spool}.ChainPrefix(), nonce)
}

// ReportKey returns the key of the report of a drain that ended at a time.
func ReportKey(class, spool string, epoch uint32, ended time.Time) string {
	return fmt.Sprintf("%s%s/%s-%06d-%s.json", ReportPrefix, class, spool, epoch, ended.Format("20060102T150405.000Z"))
}

// RepairKey returns the key of the note that the object under k was brought back at a time.
func RepairKey(k *Key, at time.Time) string {
	return fmt.Sprintf("%s%s/%s/%06d-%016x-%016x-%s.json", RepairPrefix, k.Class, k.Spool, k.Epoch, k.First, k.Last,
		at.Format("20060102T150405.000000000Z"))
}

// MarkerKey returns the key of the marker of an hour of a class: see HourOf.
func MarkerKey(class string, hour int32) string {
	folder := strings.TrimPrefix(HourPrefix(class, hour), ClassPrefix(class))
	return MarkerPrefix + class + "/" + strings.TrimSuffix(folder, "/") + ".json"
}

// ChainKey is the parsed key of a manifest or a head.
type ChainKey struct {
	Origin
	Epoch  uint32
	Number uint64
	Head   string // the destination whose head it is, "" for a manifest
}

// String returns the key as destinations have it: ManifestKey, or HeadKey if Head is set.
func (k *ChainKey) String() string {
	if k.Head != "" {
		return HeadKey(k.Class, k.Spool, k.Epoch, k.Head, k.Number)
	}
	return ManifestKey(k.Class, k.Spool, k.Epoch, k.Number)
}

// ParseChainKey is the reverse of ChainKey.String. It accepts nothing that String would have written differently.
func ParseChainKey(key string) (k ChainKey, ok bool) {
	part := strings.Split(key, "/")
	if len(part) != 5 && len(part) != 6 {
		return k, false
	}
	k.Class, k.Spool = part[1], part[2]
	epoch, err := strconv.ParseUint(part[3], 10, 32)
	if err != nil {
		return k, false
	}
	k.Epoch = uint32(epoch)
	number := strings.TrimSuffix(part[4], ".jsonl")
	if len(part) == 6 {
		name := strings.TrimSuffix(part[5], ".json")
		i := strings.LastIndexByte(name, '-')
		if i < 1 {
			return k, false
		}
		k.Head, number = name[:i], name[i+1:]
	}
	if k.Number, err = strconv.ParseUint(number, 10, 64); err != nil {
		return k, false
	}
	fixed := k.Epoch >= 1 && k.Epoch <= MaxEpoch && k.Number <= MaxNumber
	return k, fixed && k.Check() == nil && k.String() == key
}

// ParseClosingKey returns the origin of the chain that a closing closes. It does not check the sum at the end of the key, which can be
// computed from the closing itself.
func ParseClosingKey(key string) (o Origin, ok bool) {
	part := strings.Split(key, "/")
	if len(part) != 5 || part[0]+"/" != ManifestPrefix || part[3] != "closed" || !strings.HasSuffix(part[4], ".json") {
		return o, false
	}
	o = Origin{part[1], part[2]}
	return o, o.Check() == nil
}
