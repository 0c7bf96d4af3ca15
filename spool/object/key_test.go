package object

import (
	"math"
	"strings"
	"testing"
	"time"
)

// FuzzKeys: a parsed key is formatted as the same key again.
func FuzzKeys(f *testing.F) {
	spool := strings.Repeat("0", 26)
	f.Add("class=vpn/dt=2026-11-22/hour=08/" + spool + "-000001-00000000003d0901-00000000003e8fa0.ndjson.zst")
	f.Add("class=vpn/dt=0000-01-01/hour=23/" + spool + "-000001-0000000000000001-0000000000000001")
	f.Add("_manifest/vpn/" + spool + "/000001/000000000007.jsonl")
	f.Add("_manifest/vpn/" + spool + "/000001/heads/s3-backup-000000000007.json")
	f.Fuzz(func(t *testing.T, key string) {
		if k, ok := ParseKey(key); ok && k.String() != key {
			t.Errorf("%q is taken for %q", key, k.String())
		}
		if k, ok := ParseChainKey(key); ok && k.String() != key {
			t.Errorf("%q is taken for %q", key, k.String())
		}
	})
}

// TestKeyOrder: keys of objects compare as their names do, which is how they are listed.
func TestKeyOrder(t *testing.T) {
	spool := func(c string) string { return strings.Repeat(c, 26) }
	keys := []Key{
		{Origin{"vpn", spool("z")}, -5, 1, 1, 2, ".log"},
		{Origin{"vpn", spool("0")}, 0, 9, 1, 2, ".log"},
		{Origin{"vpn", spool("0")}, 0, 10, 1, 2, ".log"},
		{Origin{"vpn", spool("0")}, 0, 10, 1, 2, ".log.gz"},
		{Origin{"vpn", spool("0")}, 0, 10, 1, 16, ""},
		{Origin{"vpn", spool("0")}, 0, 10, 2, 3, ""},
		{Origin{"vpn", spool("a")}, 0, 1, 1, 2, ""},
		{Origin{"vpn", spool("0")}, 500_000, 1, 1, 2, ""},
	}
	for i := range keys {
		if got, ok := ParseKey(keys[i].String()); !ok || got != keys[i] {
			t.Errorf("%s is read as %+v, %v", keys[i].String(), got, ok)
		}
		if i > 0 && (keys[i-1].Compare(&keys[i]) >= 0 || keys[i-1].String() >= keys[i].String()) {
			t.Errorf("%s and %s are not in this order", keys[i-1].String(), keys[i].String())
		}
	}
}

// TestHourOf: hours before 1970 round down too, so that a key is read as it was written.
func TestHourOf(t *testing.T) {
	for _, s := range []int64{0, 3599, 3600, -1, -3600, -3601, math.MinInt32, math.MaxInt32} {
		at := time.Unix(s, 0).UTC()
		if got, want := HourPrefix("vpn", HourOf(at)), at.Format("class=vpn/dt=2006-01-02/hour=15/"); got != want {
			t.Errorf("%v: %s, not %s", at, got, want)
		}
	}
}

// TestWithHash: a key with a hash of the content is another one, of the same object.
func TestWithHash(t *testing.T) {
	const key = "class=vpn/dt=2026-11-22/hour=08/0123456789abcdefghijklmnop-000001-00000000003d0901-00000000003e8fa0.ndjson.zst"
	hashed := WithHash(key, strings.Repeat("ab", 32))
	a, okA := ParseKey(key)
	b, okB := ParseKey(hashed)
	if !okA || !okB || a.HasHash() || !b.HasHash() || b.Ending() != ".ndjson.zst" || !SameObject(key, hashed) {
		t.Errorf("%s: %+v %v, %+v %v", hashed, a, okA, b, okB)
	}
	other := strings.Replace(strings.Replace(hashed, "abcdefghijklmnop", "abcdefghijklmnop"[:0]+"zbcdefghijklmnop", 1), ".ndjson.zst", ".seg", 1)
	if SameObject(key, other) || !SameRecords(key, other) {
		t.Errorf("%s and %s", key, other)
	}
}
