package object

import (
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Encoding names the format and the codec with which an object is made from a segment. Package ship/format has the formats, package
// compress the codecs.
type Encoding struct {
	Format string `json:"format"`
	Codec  string `json:"codec"`
	Level  int    `json:"level"` // 0: the codec's default
}

// Encoded describes the output that an encoder has made of a segment.
type Encoded struct {
	Encoding
	Ext             string // of the object's key: ".ndjson.zst"
	ContentType     string
	ContentEncoding string // empty unless HTTP clients should decode
	Records         uint64
	RawBytes        int64 // of the uncompressed output
	RawSHA256       [32]byte
	MinTime         time.Time
	MaxTime         time.Time
	Gaps            []segment.Range // sequence numbers that could not be read
}
