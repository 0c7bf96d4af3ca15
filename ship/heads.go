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

// Head states where one destination's chain ends, and is stored at the other destinations. It consists of a JSON object on
// one line, its seal, and optionally a SignatureLine. See object.HeadKey.
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

// Sign signs the head. Any later change, except to the signature itself, makes the signature invalid.
func (h *Head) Sign(signer crypto.Signer) (err error) {
	h.Signature, err = signSealed(signer, h)
	return err
}

// CheckSignature returns nil if one of keys has signed the head. The error wraps ErrSignature.
func (h *Head) CheckSignature(keys ...ed25519.PublicKey) error {
	return checkSealed(h.Signature, h, keys)
}

const (
	// headInterval is how often a growing chain's head is stored.
	headInterval = 10 * time.Minute
	// headTimeout bounds one attempt.
	headTimeout = 30 * time.Second
	// finalHeadTimeout bounds the attempt for a final head, for which the end of Run waits.
	finalHeadTimeout = 3 * time.Second
)

// tellHeads stores this chain's head at peer: every ten minutes while the chain grows, and when it is final. A failure is not
// retried, because the next head says more. Each peer has its own goroutine, so that a dead one delays no other.
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

// headDue reports whether a head is to be written now, and if not, after how long to ask again; since is the time since the
// last head. That duration is positive, so that tellHeads does not become a busy loop.
func headDue(c, told spool.Chain, since time.Duration) (tell bool, after time.Duration) {
	switch {
	case c.Next == 0 || c.Left || c == told: // there is nothing to store until the chain changes
		return false, headInterval
	case c.Final || since >= headInterval:
		return true, 0
	}
	return false, headInterval - since
}

func (l *lane) tellHead(ctx context.Context, peer *lane, c spool.Chain) error {
	timeout := headTimeout
	if c.Final {
		// A drain ends right after the final manifest, so this head must not be cancelled.
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
		return nil // it was stored before a restart, with another time
	}
	return err
}

// DecodeHead reads a head. Errors wrap ErrVerify, unless they are r's own; for another version they wrap ErrVersion too.
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
