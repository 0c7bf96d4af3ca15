package object_test

import (
	"fmt"

	"github.com/penstock-go/penstock/spool/object"
)

// The key of an object says which records of which spool it holds.
func ExampleParseKey() {
	k, ok := object.ParseKey("class=vpn/dt=2026-11-22/hour=08/4k7q0z1m9x2c3v5b6n8a0s1d2f-000001-00000000003d0901-00000000003e8fa0.ndjson.zst")
	fmt.Println(ok, k.Class, k.Epoch, k.First, k.Last, k.Ending())
	fmt.Println(object.HourPrefix(k.Class, k.Hour))

	_, ok = object.ParseKey("class=vpn/notes.txt")
	fmt.Println(ok)
	// Output:
	// true vpn 1 4000001 4100000 .ndjson.zst
	// class=vpn/dt=2026-11-22/hour=08/
	// false
}

// The manifests of a spool's chain, and the heads of its other chains, are below one prefix.
func ExampleParseChainKey() {
	o := object.Origin{Class: "vpn", Spool: "4k7q0z1m9x2c3v5b6n8a0s1d2f"}
	fmt.Println(o.ChainPrefix())
	key := object.ManifestKey(o.Class, o.Spool, 1, 7)
	fmt.Println(key)
	k, ok := object.ParseChainKey(key)
	fmt.Println(ok, k.Epoch, k.Number, k.Head == "")
	// Output:
	// _manifest/vpn/4k7q0z1m9x2c3v5b6n8a0s1d2f/
	// _manifest/vpn/4k7q0z1m9x2c3v5b6n8a0s1d2f/000001/000000000007.jsonl
	// true 1 7 true
}
