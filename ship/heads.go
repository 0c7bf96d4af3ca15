package ship

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// HeadVersion is the version of the head format that this package writes.
const HeadVersion = 2

// Head is the end of one destination's chain as it is told to the others: a JSON object in a line, its seal, and perhaps
// a SignatureLine. See object.HeadKey.
type Head struct {
	Version     int       `json:"version"`
	Class       string    `json:"class"`
	Spool       string    `json:"spool"`
	Epoch       uint32    `json:"epoch"`
	Destination string    `json:"destination"` // whose chain it is
	Number      uint64    `json:"number"`      // of its last manifest
	Hash        string    `json:"hash"`        // of that manifest's bytes, SHA-256 in hex
	Last        uint64    `json:"last"`        // last sequence number that the chain covers
	Final       bool      `json:"final,omitempty"`
	Time        time.Time `json:"time"`
	// Signature is nil in heads that are not signed. It is a line of its own.
	Signature *SignatureLine `json:"-"`
}

// Encode returns the head's bytes.
func (h *Head) Encode() ([]byte, error) { return encodeSealed(h, h.Signature) }

// Sign signs the head. Any change but to the signature makes it worthless.
func (h *Head) Sign(signer crypto.Signer) (err error) {
	h.Signature, err = signSealed(signer, h)
	return err
}

// CheckSignature returns nil if one of keys has signed the head. The error wraps ErrSignature.
func (h *Head) CheckSignature(keys ...ed25519.PublicKey) error {
	return checkSealed(h.Signature, h, keys)
}

const (
	// headInterval is how often a growing chain's head is told.
	headInterval = 10 * time.Minute
	// headTimeout bounds one attempt.
	headTimeout = 30 * time.Second
	// finalHeadTimeout bounds the one of a final head, which the end of Run waits for.
	finalHeadTimeout = 3 * time.Second
)

// tellHeads tells the other destinations how far this chain has come: every ten minutes while it grows, and when it
// is final. Best effort: what fails is not repeated, the next head says more. Each destination has its own goroutine
// here, so that a dead one delays no other.
func (l *lane) tellHeads(ctx context.Context, peer *lane) {
	var told spool.Chain
	var last time.Time
	for {
		wake := l.s.changed.Next()
		c := l.cursor()
		tell, after := false, headInterval
		if l.isPrepared() {
			tell, after = headDue(c, told, time.Since(last))
		}
		if tell {
			told, last = c, time.Now()
			if err := l.tellHead(ctx, peer, c); err != nil && ctx.Err() == nil {
				l.log.Debug("ship: cannot store the head of this chain at another destination", "peer", peer.name, "err", err)
			}
			continue
		}
		_, err := wait.For(ctx, after, wake)
		if c = l.cursor(); err != nil && (!c.Final || c.Left || c == told || !l.isPrepared()) {
			return
		}
	}
}

func (l *lane) isPrepared() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.prepared
}

func (l *lane) setPrepared(prepared bool) {
	l.mu.Lock()
	l.prepared = prepared
	l.mu.Unlock()
	l.s.changed.Broadcast()
}

// headDue reports whether a head is to be written now, since is the time since the last one, or else after which time to
// look again: a positive one, since nothing else would keep tellHeads from using a whole processor.
func headDue(c, told spool.Chain, since time.Duration) (tell bool, after time.Duration) {
	switch {
	case c.Next == 0 || c.Left || c == told: // there is nothing to tell before the chain changes
		return false, headInterval
	case c.Final || since >= headInterval:
		return true, 0
	}
	return false, headInterval - since
}

func (l *lane) tellHead(ctx context.Context, peer *lane, c spool.Chain) error {
	timeout := headTimeout
	if c.Final {
		// A drain ends right after it; this one must not be cut off.
		ctx, timeout = context.WithoutCancel(ctx), finalHeadTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	h := &Head{
		Version: HeadVersion, Class: l.s.class, Spool: c.Spool, Epoch: c.Epoch, Destination: l.name,
		Number: c.Next - 1, Hash: hex.EncodeToString(c.Hash[:]), Last: c.Through, Final: c.Final, Time: time.Now().UTC(),
	}
	if l.s.o.Signer != nil {
		if err := l.signed(ctx, func() error { return h.Sign(l.s.o.Signer) }); err != nil {
			return err
		}
	}
	b, err := h.Encode()
	if err != nil {
		return err
	}
	o := BytesObject(object.HeadKey(l.s.class, c.Spool, c.Epoch, l.name, c.Next-1), l.s.spool, b)
	o.ContentType = "application/json"
	_, err = peer.dest.Put(ctx, o, io.NewSectionReader(bytes.NewReader(b), 0, o.Size))
	if errors.Is(err, ErrConflict) {
		return nil // told before a restart, at another time
	}
	return err
}

// DecodeHead reads a head. Errors wrap ErrVerify, unless they are r's own; one of another version wraps ErrVersion too.
func DecodeHead(r io.Reader) (*Head, error) {
	h := new(Head)
	signature, err := decodeSealed(r, h, HeadVersion)
	if err != nil {
		return nil, fmt.Errorf("ship: head: %w", err)
	}
	h.Signature = signature
	_, offset := h.Time.Zone()
	if offset != 0 || (object.Origin{Class: h.Class, Spool: h.Spool}).Check() != nil || h.Epoch < 1 || h.Epoch > object.MaxEpoch ||
		segment.CheckDestination(h.Destination) != nil || h.Number > object.MaxNumber || !hex64.MatchString(h.Hash) || h.Last > maxSequence {
		return nil, fmt.Errorf("ship: head: %w: %+v", ErrVerify, *h)
	}
	return h, nil
}
