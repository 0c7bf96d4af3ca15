package object

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DataPrefix is the prefix of the key of every object with records.
const DataPrefix = "class="

// Key is the parsed key of an object with records. Nothing in it depends on which records can still be read, on the time of staging
// or on the host that stages the segment: a second attempt, or a host that takes over the volume, computes the same key.
type Key struct {
	Origin
	Hour        int32 // in which the segment was created: see HourOf
	Epoch       uint32
	First, Last uint64
	Ext         string // the part after the numbers: ".ndjson.zst", after the hash of the content if there is one
}

// HourOf returns the number of the hour that contains t, counted from 1970-01-01T00 UTC.
func HourOf(t time.Time) int32 {
	s := t.Unix()
	if s < 0 {
		s -= 3599 // division rounds towards zero
	}
	return int32(s / 3600)
}

// ClassPrefix returns the prefix of the keys of a class's objects.
func ClassPrefix(class string) string { return DataPrefix + class + "/" }

// HourPrefix returns the prefix of the keys of a class's objects of one hour.
func HourPrefix(class string, hour int32) string {
	t := time.Unix(int64(hour)*3600, 0).UTC()
	return fmt.Sprintf("%sdt=%s/hour=%s/", ClassPrefix(class), t.Format(time.DateOnly), t.Format("15"))
}

// String returns the key as destinations have it. ParseKey reads it.
func (k *Key) String() string {
	return fmt.Sprintf("%s%s-%06d-%016x-%016x%s", HourPrefix(k.Class, k.Hour), k.Spool, k.Epoch, k.First, k.Last, k.Ext)
}

// Compare compares the keys of one class in the byte order of String.
func (k *Key) Compare(o *Key) int {
	return cmp.Or(cmp.Compare(k.Hour, o.Hour), strings.Compare(k.Spool, o.Spool), cmp.Compare(k.Epoch, o.Epoch),
		cmp.Compare(k.First, o.First), cmp.Compare(k.Last, o.Last), strings.Compare(k.Ext, o.Ext))
}

// ParseKey is the reverse of String. It accepts nothing that String would have written differently.
func ParseKey(key string) (k Key, ok bool) {
	part := strings.Split(key, "/")
	if len(part) != 4 {
		return k, false
	}
	name := strings.SplitN(part[3], "-", 4)
	if len(name) != 4 || len(name[3]) < 16 {
		return k, false
	}
	var okClass, okDate, okHour bool
	k.Class, okClass = strings.CutPrefix(part[0], DataPrefix)
	date, okDate := strings.CutPrefix(part[1], "dt=")
	hour, okHour := strings.CutPrefix(part[2], "hour=")
	t, err := time.Parse(time.DateOnly+" 15", date+" "+hour)
	if !okClass || !okDate || !okHour || err != nil {
		return k, false
	}
	k.Hour = HourOf(t)
	k.Spool, k.Ext = name[0], name[3][16:]
	epoch, err := strconv.ParseUint(name[1], 10, 32)
	if err != nil {
		return k, false
	}
	k.Epoch = uint32(epoch)
	if k.First, err = strconv.ParseUint(name[2], 16, 64); err != nil {
		return k, false
	}
	if k.Last, err = strconv.ParseUint(name[3][:16], 16, 64); err != nil {
		return k, false
	}
	ok = k.Check() == nil && k.Epoch >= 1 && k.First >= 1 && k.Last >= k.First && (k.Ext == "" || k.Ext[0] == '.') && k.String() == key
	return k, ok
}

// contentHash matches the part that WithHash inserts before the ending of a key.
var contentHash = regexp.MustCompile(`^\.[0-9a-f]{16}`)

// WithHash returns the key to use for an object if a copy of the volume has used its own key for other records: it inserts part of
// the content's hash before the ending. The result depends on the content alone, so that a later process, or another holder
// of the same records, finds the object instead of storing it again.
func WithHash(key, rawSHA256 string) string {
	name := strings.LastIndexByte(key, '/') + 1
	end := len(key)
	if i := strings.IndexByte(key[name:], '.'); i >= 0 {
		end = name + i
	}
	return key[:end] + "." + rawSHA256[:16] + key[end:]
}

// HasHash reports whether a key was made by WithHash.
func (k *Key) HasHash() bool { return contentHash.MatchString(k.Ext) }

// Ending is Ext without the hash that WithHash has added: it says how the object is encoded.
func (k *Key) Ending() string { return contentHash.ReplaceAllString(k.Ext, "") }

// SameObject reports whether two keys may name the same object: they may differ in the hash that WithHash has added,
// and in the spool id under which a copy of a volume has delivered it.
func SameObject(a, b string) bool {
	x, y, ok := relatedKeys(a, b)
	x.Ext, y.Ext = x.Ending(), y.Ending()
	return ok && x == y
}

// SameRecords is SameObject for objects that may have been encoded differently.
func SameRecords(a, b string) bool {
	x, y, ok := relatedKeys(a, b)
	x.Ext, y.Ext = "", ""
	return ok && x == y
}

// relatedKeys parses two keys of related spools, and gives the second one the spool of the first.
func relatedKeys(a, b string) (x, y Key, ok bool) {
	x, okX := ParseKey(a)
	y, okY := ParseKey(b)
	ok = okX && okY && x.Related(y.Origin)
	y.Spool = x.Spool
	return x, y, ok
}
