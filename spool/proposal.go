package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// proposal is a manifest that is proposed to a destination. Its file has the JSON of the place on the first line, and then the
// bytes of the manifest. The spool does not interpret these bytes: they are the shipper's.
type proposal struct {
	place    proposedAt
	manifest []byte
}

// proposedAt is the place in a chain for which a manifest was written.
type proposedAt struct {
	Version int    `json:"proposal"` // 1
	Spool   string `json:"spool"`
	Epoch   uint32 `json:"epoch"`
	Number  uint64 `json:"number"`
	// Final: the manifest ends the chain, see Propose.
	Final bool `json:"final,omitempty"`
}

const (
	proposalVersion = 1
	maxPlace        = 1 << 10 // maximum length of the first line
)

func (p *proposal) encode() ([]byte, error) {
	js, err := json.Marshal(p.place)
	if err != nil {
		return nil, err
	}
	return append(append(js, '\n'), p.manifest...), nil
}

// decodeProposal decodes the file of a proposal. If the place cannot be read, it is zero: the shipper finds out for which place the
// manifest is.
func decodeProposal(b []byte) (p proposal, err error) {
	line, manifest, _ := bytes.Cut(b, []byte("\n"))
	switch err := json.Unmarshal(line, &p.place); {
	case err == nil && p.place.Version > proposalVersion:
		return p, statefile.ErrNewer
	case err != nil || p.place.Version != proposalVersion:
		p.place = proposedAt{}
	}
	p.manifest = manifest
	return p, nil
}

// isFor reports whether the manifest may have been written for the chain's next place. It may have been if its place is not known.
func (p *proposal) isFor(c *Chain) bool {
	at := p.place
	return at.Version == 0 || at.Epoch == c.Epoch && at.Number == c.Next && (at.Spool == c.Spool || c.Spool == "")
}

// Propose makes the bytes of a destination's next manifest durable, before they are first sent. Until the manifest is
// acknowledged, it may be proposed again only with the same bytes, because the first ones may already have reached the destination.
//
// final says that the manifest ends the chain. When the spool is opened again, such a manifest may have arrived. Records that are
// kept from then on need a new epoch, so Open begins one.
func (s *Shelf) Propose(dest string, manifest []byte, final bool) error {
	d, err := s.destination(dest)
	if err != nil {
		return err
	}
	if len(manifest) == 0 || len(manifest) > maxManifest {
		return fmt.Errorf("spool: manifest of %d bytes, 1 to %d are allowed", len(manifest), maxManifest)
	}
	if err := s.admit(); err != nil {
		return err
	}
	defer s.calls.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	old, err := s.proposed(d)
	switch {
	case err == nil && bytes.Equal(old.manifest, manifest) && d.stale:
		s.log.Error("spool: the file of a proposed manifest is damaged or gone, and is written again from memory, so nothing is lost: check the disk", "class", s.opts.Class, "destination", dest)
	case err == nil && bytes.Equal(old.manifest, manifest):
		return s.fs.SyncDir(s.path(chainDir)) // an earlier call may have failed to sync the directory
	case err == nil:
		return fmt.Errorf("spool: another manifest is already proposed to %q and not acknowledged yet", dest)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	s.mu.Lock()
	c := d.chain
	s.mu.Unlock()
	p := proposal{proposedAt{Version: proposalVersion, Spool: c.Spool, Epoch: c.Epoch, Number: c.Next, Final: final}, manifest}
	b, err := p.encode()
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := s.space.writeAtomic(s.proposalPath(dest), b); err != nil {
		return err
	}
	p.manifest = bytes.Clone(manifest)
	d.proposal, d.proposed, d.stale = &p, sha256.Sum256(manifest), false
	return nil
}

// Proposed returns the proposed manifest that is not acknowledged yet. fs.ErrNotExist: there is none. ErrCorrupt: the disk has
// failed to read it so often and for so long that retrying is useless. Then only the destination can tell whether it has arrived.
func (s *Shelf) Proposed(dest string) ([]byte, error) {
	d, err := s.destination(dest)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := s.proposed(d)
	if !refused(err) {
		d.unread = refusal{}
		return p.manifest, err
	}
	if d.unread.again(); d.unread.isFinal() {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil, err
}

// proposed reads the proposal. It ignores a proposal that is already part of the chain, or obsolete, whose removal a crash has
// interrupted: it has the hash of the chain state, or was written for another place than the chain's next one. d.mu is held.
func (s *Shelf) proposed(d *destination) (p proposal, err error) {
	b, err := vfs.ReadFile(s.fs, s.proposalPath(d.name), maxPlace+maxManifest)
	if err == nil {
		p, err = decodeProposal(b)
	}
	// What this process has proposed it knows, whatever has happened to the file since.
	d.stale = d.proposed != [32]byte{} && (err != nil && !refused(err) || err == nil && sha256.Sum256(p.manifest) != d.proposed)
	switch {
	case d.stale:
		p, err = *d.proposal, nil
	case refused(err) && d.proposal != nil:
		p = *d.proposal // the disk has stored it but cannot read it any more: that must not block the chain
	case errors.Is(err, statefile.ErrNewer):
		return proposal{}, fmt.Errorf("%s: %w", s.proposalPath(d.name), err)
	case err != nil:
		return proposal{}, err
	default:
		read := p
		d.proposal = &read
	}
	s.mu.Lock()
	acked := d.chain.Hash == sha256.Sum256(p.manifest) || !p.isFor(&d.chain)
	s.mu.Unlock()
	if acked {
		return proposal{}, fmt.Errorf("spool: no manifest is proposed to %q: %w", d.name, fs.ErrNotExist)
	}
	return p, nil
}

// proposesFinal reports whether a manifest that may have arrived ends the chain.
func (s *Shelf) proposesFinal(d *destination) bool {
	p, err := s.proposed(d)
	return err == nil && p.place.Final // if the proposal cannot be read, the shipper finds out
}
