package ship

import (
	"errors"
	"hash/crc64"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "class=vpn/dt=2026-01-02/hour=03/x-000001-0.ndjson.zst", "_manifest/a/b/000001/000000000000.jsonl", "..a/b..", "ü"} {
		if err := CheckKey(key); err != nil {
			t.Errorf("CheckKey(%q) = %v", key, err)
		}
	}
	for _, key := range []string{"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\x00b", "a\nb", `a\b`, "\xff", strings.Repeat("a", 1025)} {
		if CheckKey(key) == nil {
			t.Errorf("CheckKey(%q) passes", key)
		}
	}
}

func TestObjectCheck(t *testing.T) {
	// The check value of CRC-64/NVME for "123456789" is in the catalogue of parametrised CRC algorithms (reveng).
	o := BytesObject("k", "s", []byte("123456789"))
	if got := CRC64Checksum(o.CRC64NVME); got != "crc64nvme:ae8b14860a799888" {
		t.Fatalf("CRC-64/NVME = %s", got)
	}
	good := []Receipt{
		{Size: 9, Checksum: "crc64nvme:ae8b14860a799888"},
		{Size: 9, Checksum: "sha256:15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"},
	}
	for _, r := range good {
		if err := o.Check(r); err != nil {
			t.Errorf("Check(%v) = %v", r, err)
		}
	}
	bad := []Receipt{
		{Size: 9},
		{Size: 8, Checksum: good[0].Checksum},
		{Size: 9, Checksum: "crc64nvme:ae8b14860a799889"},
		{Size: 9, Checksum: "sha256:00"},
		{Size: 9, Checksum: "md5:25f9e794323b453885f5181f1b624d0b"},
	}
	for _, r := range bad {
		if err := o.Check(r); !errors.Is(err, ErrVerify) {
			t.Errorf("Check(%v) = %v, want ErrVerify", r, err)
		}
	}
}

func TestPermanent(t *testing.T) {
	cause := errors.New("denied")
	err := errors.Join(errors.New("x"), Permanent(cause))
	if !IsPermanent(err) || !errors.Is(err, cause) {
		t.Fatal("mark or cause is lost")
	}
	if IsPermanent(cause) || Permanent(nil) != nil {
		t.Fatal("marks what is not marked")
	}
}

// TestCRC64 compares the checksum of every length and alignment at which another loop of instructions takes over with the standard
// library's table.
func TestCRC64(t *testing.T) {
	table := crc64.MakeTable(0x9a6c9329ac4bc9b5)
	b := make([]byte, 8<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	for _, n := range []int{0, 1, 7, 8, 63, 64, 127, 128, 129, 255, 1023, 1024, 1025, 4096, 8000} {
		for at := range 65 {
			p := b[at : at+n]
			d := NewDigest()
			_, _ = d.Write(p[:n/3])
			_, _ = d.Write(p[n/3:])
			var o Object
			if d.Sum(&o); o.CRC64NVME != crc64.Checksum(p, table) {
				t.Fatalf("%d bytes at %d: %016x, not %016x", n, at, o.CRC64NVME, crc64.Checksum(p, table))
			}
		}
	}
}
