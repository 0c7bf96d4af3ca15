package ship

import (
	"errors"
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
