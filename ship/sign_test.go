package ship

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pub, key
}

// TestSign: a signature covers every byte before it, and no others.
func TestSign(t *testing.T) {
	pub, key := newKey(t)
	other, stranger := newKey(t)
	m := exampleManifest()
	if err := m.Sign(key); err != nil {
		t.Fatal(err)
	}
	b := encode(t, m)
	back, err := DecodeManifest(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := back.CheckSignature(other, pub); err != nil {
		t.Error(err)
	}
	if forged, err := back.CheckSignature(other); !errors.Is(err, ErrSignature) || !errors.Is(err, ErrVerify) || forged {
		t.Errorf("a key that is not known: forged %v, %v", forged, err)
	}
	// A forger without the key writes the manifest again in valid form, and keeps the signature.
	back.Segments[0].Bytes++
	forgery, err := DecodeManifest(bytes.NewReader(encode(t, back)))
	if err != nil {
		t.Fatal(err)
	}
	if forged, err := forgery.CheckSignature(pub); !errors.Is(err, ErrSignature) || !forged {
		t.Errorf("a forgery: forged %v, %v", forged, err)
	}
	forgery.Signature = nil
	if forged, err := forgery.CheckSignature(pub); !errors.Is(err, ErrSignature) || forged {
		t.Errorf("no signature: forged %v, %v", forged, err)
	}
	if err := forgery.Sign(stranger); err != nil {
		t.Fatal(err)
	}
	if _, err := forgery.CheckSignature(pub); !errors.Is(err, ErrSignature) {
		t.Errorf("a stranger's key: %v", err)
	}
	// Signing twice gives the same bytes: after a crash, a manifest must not differ from the one that was sent.
	again := exampleManifest()
	if err := again.Sign(key); err != nil || !bytes.Equal(encode(t, again), b) {
		t.Errorf("another signature of the same: %v", err)
	}
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 1
		if got, err := DecodeManifest(bytes.NewReader(flipped)); err == nil {
			if _, err := got.CheckSignature(pub); err == nil {
				t.Fatalf("byte %d (%q) changed unnoticed", i, b[i])
			}
		}
	}
}

func TestSignHead(t *testing.T) {
	pub, key := newKey(t)
	h := &Head{
		Version: HeadVersion, Class: "vpn", Spool: strings.Repeat("0", 26), Epoch: 1, Destination: "idc", Number: 3,
		Hash: strings.Repeat("ab", 32), Last: 9, Time: time.Unix(1, 0).UTC(),
	}
	for _, signed := range []bool{false, true} {
		if signed {
			var err error
			if err = h.Sign(key); err != nil {
				t.Fatal(err)
			}
		}
		b, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeHead(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := back.CheckSignature(pub); (err == nil) != signed {
			t.Errorf("signed %v: %v", signed, err)
		}
		back.Number++
		if err := back.CheckSignature(pub); err == nil {
			t.Error("another number")
		}
		for i := range b {
			if signed && i == bytes.LastIndexByte(b[:len(b)-1], '\n')+1 {
				continue // without the third line it is a valid unsigned head
			}
			if _, err := DecodeHead(bytes.NewReader(b[:i])); !errors.Is(err, ErrVerify) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		}
	}
}

// TestReadKeys reads what openssl writes, and refuses everything else without showing it.
func TestReadKeys(t *testing.T) {
	dir := t.TempDir()
	private, public, rsaKey := filepath.Join(dir, "key"), filepath.Join(dir, "key.pub"), filepath.Join(dir, "rsa")
	for _, args := range [][]string{
		{"genpkey", "-algorithm", "ed25519", "-out", private},
		{"pkey", "-in", private, "-pubout", "-out", public},
		{"genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024", "-out", rsaKey},
	} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") == "" {
			t.Skip(err)
		} else if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	key, err := ReadPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ReadPublicKey(public)
	if err != nil || !pub.Equal(key.Public()) {
		t.Fatalf("%v, %v", pub, err)
	}
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{public, rsaKey, junk, filepath.Join(dir, "none")} {
		if _, err := ReadPrivateKey(path); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{private, rsaKey, junk} {
		if _, err := ReadPublicKey(path); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSignerRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Signer: key}
	if err := o.validate(nil, nil); !errors.Is(err, errNoEd25519) {
		t.Error(err)
	}
}
