package ship

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrVersion: the document has a version that this program does not read. That is no damage. Errors that wrap it wrap
// ErrVerify too.
var ErrVersion = errors.New("ship: a version that this program does not read")

// maxSealed bounds a sealed document in bytes.
const maxSealed = 64 << 10

// sealLine is the second line of a sealed document: the SHA-256 of the line before, its newline included. It is needed to
// detect a changed byte in a document whose hash no other document contains.
type sealLine struct {
	Type   string `json:"type"` // "seal"
	SHA256 string `json:"sha256"`
}

// seal returns the seal of v's line, and both lines.
func seal(v any) (s *sealLine, lines []byte, err error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, nil, err
	}
	line = append(line, '\n')
	sum := sha256.Sum256(line)
	s = &sealLine{"seal", hex.EncodeToString(sum[:])}
	last, err := json.Marshal(s)
	return s, append(append(line, last...), '\n'), err
}

// encodeSealed writes a sealed document: v, its seal, and its signature unless that is nil.
func encodeSealed(v any, signature *SignatureLine) ([]byte, error) {
	_, b, err := seal(v)
	if err != nil || signature == nil {
		return b, err
	}
	line, err := json.Marshal(signature)
	return append(append(b, line...), '\n'), err
}

// signSealed signs v's seal, and with it v.
func signSealed(signer crypto.Signer, v any) (*SignatureLine, error) {
	s, _, err := seal(v)
	if err != nil {
		return nil, err
	}
	return sign(signer, s)
}

// checkSealed returns nil if one of keys has signed v's seal.
func checkSealed(signature *SignatureLine, v any, keys []ed25519.PublicKey) error {
	s, _, err := seal(v)
	if err == nil {
		_, err = checkSignature(signature, s, keys)
	}
	return err
}

// decodeSealed reads a sealed document into v, and returns its signature, nil if it has none. It checks the seal before it
// trusts the version: a damaged version is damage. Errors wrap ErrVerify, unless they are r's own.
func decodeSealed(r io.Reader, v any, version int) (*SignatureLine, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSealed))
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(b, []byte("\n")) {
		return nil, fmt.Errorf("%w: cut off", ErrVerify)
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	lines = lines[:len(lines)-1] // after the last newline
	var has struct{ Version int }
	err = json.Unmarshal(lines[0], &has)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVerify, err)
	}
	sealed := len(lines) > 1 && hasType(lines[1], "seal")
	var s sealLine
	if sealed {
		if err := strict(lines[1], &s); err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(lines[0]); s.SHA256 != hex.EncodeToString(sum[:]) {
			return nil, fmt.Errorf("%w: its first line does not match its seal: it has sha256:%x, the seal says sha256:%s", ErrVerify, sum, s.SHA256)
		}
	}
	if has.Version != version {
		return nil, fmt.Errorf("%w: %w: it has version %d, and this program reads version %d: use a program of the version that wrote it", ErrVerify, ErrVersion, has.Version, version)
	}
	if !sealed {
		return nil, fmt.Errorf("%w: it has no seal", ErrVerify)
	}
	if err := strict(lines[0], v); err != nil {
		return nil, err
	}
	switch len(lines) {
	case 2:
		return nil, nil
	case 3:
		signature := new(SignatureLine)
		if err := strict(lines[2], signature); err != nil {
			return nil, err
		}
		var v validator
		if v.signature(signature); len(v.errs) > 0 {
			return nil, fmt.Errorf("%w: %w", ErrVerify, errors.Join(v.errs...))
		}
		return signature, nil
	}
	return nil, fmt.Errorf("%w: something follows its signature", ErrVerify)
}
