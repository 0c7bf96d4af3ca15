package ship

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/secret"
)

// signatureAlgorithm is the only algorithm: RFC 8032, section 5.1.
const signatureAlgorithm = "ed25519"

// SignatureLine signs the line before it, its newline included: the footer of a manifest, or the seal of a head or a
// closing, whose hash covers all other lines. So what is signed is short, and an HSM or a key service can sign it.
type SignatureLine struct {
	Type      string `json:"type"`      // "signature"
	Algorithm string `json:"algorithm"` // ed25519
	Key       string `json:"key"`       // the public key, 32 bytes in hex
	Signature string `json:"signature"` // 64 bytes in hex
}

// ErrSignature: not signed by any of the keys that are trusted. Errors that wrap it wrap ErrVerify too.
var ErrSignature = errors.New("ship: not signed by a trusted key")

// sign returns a signature of v's line.
func sign(signer crypto.Signer, v any) (*SignatureLine, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if err := CheckSigner(signer); err != nil {
		return nil, err
	}
	var key ed25519.PublicKey
	var sig []byte
	err = foreign.Catch("Signer.Sign", func() (err error) {
		key = signer.Public().(ed25519.PublicKey)
		// The random source is for other algorithms: the same key gives the same signature of the same bytes.
		sig, err = signer.Sign(nil, append(line, '\n'), crypto.Hash(0))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ship: signing: %w", err)
	}
	return &SignatureLine{Type: "signature", Algorithm: signatureAlgorithm, Key: hex.EncodeToString(key), Signature: hex.EncodeToString(sig)}, nil
}

// CheckSigner returns why a signer cannot sign manifests, nil if it can. New calls it. It makes no signature, since that may
// cost a call to a key service.
func CheckSigner(signer crypto.Signer) error {
	var public crypto.PublicKey
	err := foreign.Catch("Signer.Public", func() error { public = signer.Public(); return nil })
	if foreign.IsNil(signer) || err != nil {
		return fmt.Errorf("ship: the Signer (%T) has no key", signer)
	}
	key, ok := public.(ed25519.PublicKey)
	switch {
	case !ok:
		return errNoEd25519
	case len(key) != ed25519.PublicKeySize:
		return fmt.Errorf("ship: the Signer's public key has %d bytes, not %d", len(key), ed25519.PublicKeySize)
	}
	if k, ok := signer.(ed25519.PrivateKey); ok && (len(k) != ed25519.PrivateKeySize || !k.Equal(ed25519.NewKeyFromSeed(k.Seed()))) {
		return errors.New("ship: the Signer is no ed25519 private key: its two halves do not belong together")
	}
	return nil
}

// PublicKey returns the key that the line names. known: this program knows the algorithm; otherwise the line proves nothing,
// good or bad, and the error wraps ErrVersion. Every error wraps ErrVerify.
func (s *SignatureLine) PublicKey() (key ed25519.PublicKey, known bool, err error) {
	if s.Algorithm != signatureAlgorithm {
		return nil, false, fmt.Errorf("%w: %w: its signature has the unknown algorithm %q", ErrVerify, ErrVersion, s.Algorithm)
	}
	key, err = hex.DecodeString(s.Key)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, true, fmt.Errorf("%w: the key that its signature names is not a key: %.64q", ErrVerify, s.Key)
	}
	return key, true, nil
}

var errNoEd25519 = errors.New("ship: the signer's key is not an ed25519 key")

// checkSignature returns nil if s is a signature of v's line by one of keys. known: it names one of keys; if there is an
// error then, the signature is forged.
func checkSignature(s *SignatureLine, v any, keys []ed25519.PublicKey) (known bool, err error) {
	if s == nil {
		return false, fmt.Errorf("%w: %w: it has no signature", ErrVerify, ErrSignature)
	}
	key, err1 := hex.DecodeString(s.Key)
	sig, err2 := hex.DecodeString(s.Signature)
	i := slices.IndexFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(ed25519.PublicKey(key)) })
	if s.Algorithm != signatureAlgorithm || err1 != nil || err2 != nil || i < 0 {
		return false, fmt.Errorf("%w: %w: its key is %.64s", ErrVerify, ErrSignature, s.Key)
	}
	line, err := json.Marshal(v)
	if err != nil {
		return true, err
	}
	// Accept one spelling only: a changed byte counts even if it decodes to the same value.
	if hex.EncodeToString(key) != s.Key || hex.EncodeToString(sig) != s.Signature || !ed25519.Verify(keys[i], append(line, '\n'), sig) {
		return true, fmt.Errorf("%w: %w: its signature does not match its bytes", ErrVerify, ErrSignature)
	}
	return true, nil
}

// Sign signs the manifest, which must be valid. Any later change, except to the signature itself, makes the signature
// invalid.
func (m *Manifest) Sign(signer crypto.Signer) error {
	m.Signature = nil
	if _, err := m.Encode(); err != nil { // fills in the footer
		return err
	}
	s, err := sign(signer, &m.Footer)
	m.Signature = s
	return err
}

// CheckSignature returns nil if one of keys has signed the manifest, which must come from DecodeManifest or Sign: its footer
// then fits all other lines. The error wraps ErrSignature. forged: the manifest names one of keys, and that key has not
// signed it; otherwise its writer may merely have had no key, or another one.
func (m *Manifest) CheckSignature(keys ...ed25519.PublicKey) (forged bool, err error) {
	known, err := checkSignature(m.Signature, &m.Footer, keys)
	return known && err != nil, err
}

// maxKeyFile bounds a key file in bytes.
const maxKeyFile = 64 << 10

// ReadPrivateKey reads an ed25519 private key from a PEM file in PKCS #8 (RFC 8410), as `openssl genpkey -algorithm
// ed25519 -out FILE` writes it. Errors never show what is in the file.
func ReadPrivateKey(path string) (ed25519.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY", "openssl genpkey -algorithm ed25519 -out FILE")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if k, ok := key.(ed25519.PrivateKey); ok && err == nil {
		return k, nil
	}
	return nil, fmt.Errorf("ship: %s: no ed25519 key in PKCS #8: make one with `openssl genpkey -algorithm ed25519 -out FILE`", path)
}

// KeyExposed returns a warning, with the cure, if every account of this machine can read the key in a file; "" if not. Anyone
// who can read the key can forge manifests. Such a key is used anyway, since orchestrators mount world-readable secrets into
// containers that have no other accounts.
func KeyExposed(path string) string { return strings.Join(secret.Exposed(path), "") }

// ReadPublicKey reads an ed25519 public key from a PEM file, as `openssl pkey -in FILE -pubout` writes it.
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	const cure = "openssl pkey -in PRIVATE -pubout -out FILE"
	der, err := readPEM(path, "PUBLIC KEY", cure)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if k, ok := key.(ed25519.PublicKey); ok && err == nil {
		return k, nil
	}
	return nil, fmt.Errorf("ship: %s: no ed25519 public key: make one with `%s`", path, cure)
}

// readPEM reads the one block that a file holds.
func readPEM(path, kind, cure string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("ship: key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("ship: key: %w", err)
	}
	block, _ := pem.Decode(b)
	switch {
	case block == nil:
		return nil, fmt.Errorf("ship: %s: not a PEM file: make one with `%s`", path, cure)
	case block.Type != kind:
		return nil, fmt.Errorf("ship: %s: holds %q, not %q: make one with `%s`", path, clean(block.Type), kind, cure)
	}
	return block.Bytes, nil
}
