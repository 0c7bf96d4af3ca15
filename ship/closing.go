package ship

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// ClosingVersion is the version of the closing format that this package writes.
const ClosingVersion = 1

// maxText bounds each of the two texts of a closing in bytes.
const maxText = 1024

// Closing is an operator's statement that a spool is permanently gone: nothing more will come from it, and records after the
// end of its chain are lost if no destination has them. It is stored beside a destination's chain and names the end of that
// chain, but is no part of it: only the owner of a spool writes its chain. Like a head, it consists of a JSON object on one
// line, its seal, and optionally a SignatureLine. See object.ClosingKey.
type Closing struct {
	Version     int       `json:"version"`
	Class       string    `json:"class"`
	Spool       string    `json:"spool"`
	Epoch       uint32    `json:"epoch"`
	Destination string    `json:"destination"` // the sender's name for the place whose chain it closes
	Number      uint64    `json:"number"`      // of the chain's last manifest
	Hash        string    `json:"hash"`        // of that manifest's bytes, SHA-256 in hex
	Last        uint64    `json:"last"`        // last sequence number that the chain covers
	By          string    `json:"by"`          // the operator who closes the chain
	Reason      string    `json:"reason"`
	Time        time.Time `json:"time"`
	// Signature is nil in closings that are not signed. It is a line of its own.
	Signature *SignatureLine `json:"-"`
}

// Encode returns the closing's bytes.
func (c *Closing) Encode() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("ship: closing: %w", err)
	}
	return encodeSealed(c, c.Signature)
}

// Sign signs the closing. Any later change, except to the signature itself, makes the signature invalid.
func (c *Closing) Sign(signer crypto.Signer) (err error) {
	c.Signature, err = signSealed(signer, c)
	return err
}

// CheckSignature returns nil if one of keys has signed the closing. The error wraps ErrSignature.
func (c *Closing) CheckSignature(keys ...ed25519.PublicKey) error {
	return checkSealed(c.Signature, c, keys)
}

// Key returns the key of a closing with these bytes.
func (c *Closing) Key(b []byte) string {
	return object.ClosingKey(c.Class, c.Spool, c.Epoch, c.Number, sha256.Sum256(b))
}

// DecodeClosing reads the closing under key. Errors wrap ErrVerify, unless they are r's own; for another version they wrap
// ErrVersion too.
func DecodeClosing(r io.Reader, key string) (*Closing, error) {
	var b bytes.Buffer
	c := new(Closing)
	signature, err := decodeSealed(io.TeeReader(r, &b), c, ClosingVersion)
	if err == nil {
		c.Signature, err = signature, c.validate()
	}
	if err == nil && c.Key(b.Bytes()) != key {
		err = fmt.Errorf("%w: its key is that of another closing, or of other bytes", ErrVerify)
	}
	if err != nil {
		return nil, fmt.Errorf("ship: closing: %w", err)
	}
	return c, nil
}

func (c *Closing) validate() error {
	var v validator
	v.that(c.Version == ClosingVersion, "version %d", c.Version)
	v.that(segment.CheckClass(c.Class) == nil, "class %q", c.Class)
	v.that(segment.CheckSpoolID(c.Spool) == nil, "spool %q", c.Spool)
	v.that(c.Epoch >= 1 && c.Epoch <= object.MaxEpoch, "epoch %d", c.Epoch)
	v.that(segment.CheckDestination(c.Destination) == nil, "destination %q", c.Destination)
	v.that(c.Number <= object.MaxNumber, "number %d", c.Number)
	v.that(hex64.MatchString(c.Hash), "hash %q", c.Hash)
	v.that(c.Last <= maxSequence, "last %d", c.Last)
	v.utc("time", c.Time)
	for what, text := range map[string]string{"by": c.By, "reason": c.Reason} {
		v.that(text != "" && len(text) <= maxText && utf8.ValidString(text), "%s: %d bytes; must be 1 to %d bytes of UTF-8: %.100q", what, len(text), maxText, text)
	}
	if len(v.errs) > 0 {
		return fmt.Errorf("%w: %w", ErrVerify, errors.Join(v.errs...))
	}
	return nil
}
