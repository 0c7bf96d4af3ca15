package s3d

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// An aws-chunked body:
//
//	hex-size[;chunk-signature=64 hex] CRLF
//	size bytes CRLF
//	…
//	0[;chunk-signature=64 hex] CRLF
//	[trailer-name:value CRLF]…
//	[x-amz-trailer-signature:64 hex CRLF]
//	CRLF
//
// Each signature covers the one before it, the first of them the signature of the request itself.
const (
	streamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	streamingSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

	// maxLine bounds a chunk header or a trailer line, maxTrailers their number, maxChunk what one signature may cover.
	maxLine     = 1 << 10
	maxTrailers = 8
	maxChunk    = 64 << 20
)

// errChunks is a body that does not follow the form above.
var errChunks = fail(http.StatusBadRequest, "InvalidRequest", "The aws-chunked body is malformed.")

// chunks reads the payload of an aws-chunked body. A signature is checked after its chunk has been read, so the data may be
// trusted only after io.EOF. Then trailer contains the trailers.
type chunks struct {
	r *bufio.Reader
	// sig is nil for unsigned chunks; prev is the signature that the next one covers.
	sig  *signature
	prev string

	hasTrailer bool
	trailer    http.Header

	left     int64 // of the chunk at hand
	inChunk  bool
	chunkSig string
	hash     hash.Hash
	err      error
}

// newChunks reads r, which is of the kind that x-amz-content-sha256 names.
func newChunks(r io.Reader, kind string, sig *signature) *chunks {
	c := &chunks{
		r:          bufio.NewReaderSize(r, 64<<10),
		hasTrailer: kind == streamingUnsignedTrailer || kind == streamingSignedTrailer,
		trailer:    http.Header{},
	}
	if kind != streamingUnsignedTrailer {
		c.sig, c.prev, c.hash = sig, sig.value, sha256.New()
	}
	return c
}

// Read gives the payload without its framing. A chunk is never larger in memory than the reader's own buffer.
func (c *chunks) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(b) == 0 {
		return 0, nil
	}
	if !c.inChunk {
		if c.err = c.begin(); c.err != nil {
			return 0, c.err
		}
		if c.left == 0 {
			if c.err = c.end(); c.err == nil {
				c.err = io.EOF
			}
			return 0, c.err
		}
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if c.hash != nil {
		c.hash.Write(b[:n])
	}
	if err != nil {
		c.err = short(err)
		return n, c.err
	}
	if c.left == 0 {
		c.err = c.finish()
	}
	return n, c.err
}

// begin reads a chunk's header.
func (c *chunks) begin() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, ext, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(size, 16, 63)
	if err != nil || n > maxChunk {
		return errChunks
	}
	c.left, c.inChunk = int64(n), true
	if c.sig == nil {
		return nil
	}
	var ok bool
	if c.chunkSig, ok = strings.CutPrefix(ext, "chunk-signature="); !ok {
		return errChunks
	}
	c.hash.Reset()
	if n == 0 { // the last chunk has no data and no line end of its own
		return c.verify()
	}
	return nil
}

// finish reads the line end after a chunk's data, and checks its signature.
func (c *chunks) finish() error {
	var crlf [2]byte
	if _, err := io.ReadFull(c.r, crlf[:]); err != nil {
		return short(err)
	}
	if crlf != [2]byte{'\r', '\n'} {
		return errChunks
	}
	c.inChunk = false
	if c.sig == nil {
		return nil
	}
	return c.verify()
}

// verify compares the signature of the chunk at hand; the next one is made over it.
func (c *chunks) verify() error {
	// The rules put the hash of nothing here, for headers that chunks do not have.
	empty := sha256.Sum256(nil)
	want := c.sig.sign("AWS4-HMAC-SHA256-PAYLOAD", c.prev, hex.EncodeToString(empty[:]), hex.EncodeToString(c.hash.Sum(nil)))
	if !hmac.Equal([]byte(want), []byte(c.chunkSig)) {
		return errSignature
	}
	c.prev = want
	return nil
}

// end reads the trailers and the empty line that ends the body.
func (c *chunks) end() error {
	var canonical bytes.Buffer
	// A signed upload with trailers must end with their signature; otherwise anybody could have written its last line.
	signed := c.sig == nil || !c.hasTrailer
	for range maxTrailers + 1 {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			if !signed {
				return errSignature
			}
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !c.hasTrailer {
			return errChunks
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "x-amz-trailer-signature" && c.sig != nil {
			want := c.sig.sign("AWS4-HMAC-SHA256-TRAILER", c.prev, sumHex(canonical.Bytes()))
			if !hmac.Equal([]byte(want), []byte(value)) {
				return errSignature
			}
			signed = true
			continue
		}
		c.trailer.Set(name, value)
		canonical.WriteString(name + ":" + value + "\n")
	}
	return errChunks
}

// line reads up to CRLF. The end of the body is an empty line too: some clients leave out the last CRLF.
func (c *chunks) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(b) == 0 && c.inChunk {
		return "", nil
	}
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", errChunks
		}
		return "", short(err)
	}
	if len(b) > maxLine {
		return "", errChunks
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// short names the end of a body that came too early.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errIncomplete
	}
	return err
}
