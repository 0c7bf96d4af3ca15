package audit

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// dataKey is what the key of an object says:
// class=<class>/dt=YYYY-MM-DD/hour=HH/<spool>-<epoch>-<first>-<last><ext>
type dataKey struct {
	spoolID
	hour        int32 // since 1970-01-01T00 UTC
	epoch       uint32
	first, last uint64
	ext         string
}

// hourOf returns the number of the hour that t is in.
func hourOf(t time.Time) int32 { return int32(t.Unix() / 3600) }

func (k *dataKey) String() string {
	t := time.Unix(int64(k.hour)*3600, 0).UTC()
	return fmt.Sprintf("class=%s/dt=%s/hour=%s/%s-%06d-%016x-%016x%s",
		k.class, t.Format(time.DateOnly), t.Format("15"), k.spool, k.epoch, k.first, k.last, k.ext)
}

// compare is the byte order of String within a class.
func (k *dataKey) compare(o *dataKey) int {
	return cmp.Or(cmp.Compare(k.hour, o.hour), strings.Compare(k.spool, o.spool), cmp.Compare(k.epoch, o.epoch),
		cmp.Compare(k.first, o.first), cmp.Compare(k.last, o.last), strings.Compare(k.ext, o.ext))
}

// parseDataKey is the reverse of String. It takes nothing that String would have written differently.
func parseDataKey(key string) (k dataKey, ok bool) {
	part := strings.Split(key, "/")
	if len(part) != 4 {
		return k, false
	}
	name := strings.SplitN(part[3], "-", 4)
	if len(name) != 4 || len(name[3]) < 16 {
		return k, false
	}
	var okClass, okDate, okHour bool
	k.class, okClass = strings.CutPrefix(part[0], "class=")
	date, okDate := strings.CutPrefix(part[1], "dt=")
	hour, okHour := strings.CutPrefix(part[2], "hour=")
	t, err := time.Parse(time.DateOnly+" 15", date+" "+hour)
	if !okClass || !okDate || !okHour || err != nil {
		return k, false
	}
	k.hour = hourOf(t)
	k.spool, k.ext = name[0], name[3][16:]
	epoch, err := strconv.ParseUint(name[1], 10, 32)
	if err != nil {
		return k, false
	}
	k.epoch = uint32(epoch)
	if k.first, err = strconv.ParseUint(name[2], 16, 64); err != nil {
		return k, false
	}
	if k.last, err = strconv.ParseUint(name[3][:16], 16, 64); err != nil {
		return k, false
	}
	ok = classPattern.MatchString(k.class) && spoolPattern.MatchString(k.spool) && k.epoch >= 1 && k.first >= 1 && k.last >= k.first &&
		(k.ext == "" || k.ext[0] == '.') && k.String() == key
	return k, ok
}

// sameObject reports whether two places may know one object by these keys. A sender that finds the key taken by a copy of
// its volume uses one with a hash of the content in front of the ending.
func sameObject(a, b string) bool {
	x, okX := parseDataKey(a)
	y, okY := parseDataKey(b)
	if !okX || !okY || x.spool != y.spool && !ship.Related(x.spool, y.spool) {
		return false
	}
	x.ext, y.ext, y.spool = contentHash.ReplaceAllString(x.ext, ""), contentHash.ReplaceAllString(y.ext, ""), x.spool
	return x == y
}

// sameRecords is sameObject for objects that may have been encoded differently.
func sameRecords(a, b string) bool {
	x, okX := parseDataKey(a)
	y, okY := parseDataKey(b)
	if !okX || !okY || !x.related(y.spoolID) {
		return false
	}
	x.ext, y.ext, y.spool = "", "", x.spool
	return x == y
}

// contentKey is the key of an object whose own key a copy of the volume has taken.
func contentKey(s *ship.SegmentLine) (key string, ok bool) {
	k, ok := parseDataKey(s.Key)
	if !ok || len(s.RawSHA256) < 16 || contentHash.MatchString(k.ext) {
		return s.Key, false
	}
	k.ext = "." + s.RawSHA256[:16] + k.ext
	return k.String(), true
}

// contentHash is what the key of such an object has in front of its ending.
var contentHash = regexp.MustCompile(`^\.[0-9a-f]{16}`)

// chainKey is what the key of a manifest or a head says.
type chainKey struct {
	spoolID
	epoch  uint32
	number uint64
	head   string // the destination whose head it is, "" for a manifest
}

func (k *chainKey) String() string {
	if k.head != "" {
		return ship.HeadKey(k.class, k.spool, k.epoch, k.head, k.number)
	}
	return ship.ManifestKey(k.class, k.spool, k.epoch, k.number)
}

// parseChainKey is the reverse of String.
func parseChainKey(key string) (k chainKey, ok bool) {
	part := strings.Split(key, "/")
	if len(part) != 5 && len(part) != 6 {
		return k, false
	}
	k.class, k.spool = part[1], part[2]
	epoch, err := strconv.ParseUint(part[3], 10, 32)
	if err != nil {
		return k, false
	}
	k.epoch = uint32(epoch)
	number := strings.TrimSuffix(part[4], ".jsonl")
	if len(part) == 6 {
		name := strings.TrimSuffix(part[5], ".json")
		i := strings.LastIndexByte(name, '-')
		if i < 1 {
			return k, false
		}
		k.head, number = name[:i], name[i+1:]
	}
	if k.number, err = strconv.ParseUint(number, 10, 64); err != nil {
		return k, false
	}
	// A number of more digits would sort before shorter ones.
	fixed := len(part[3]) == 6 && len(number) == 12
	return k, fixed && classPattern.MatchString(k.class) && spoolPattern.MatchString(k.spool) && k.epoch >= 1 && k.String() == key
}
