package sftpc

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"time"
)

// Packet types (draft-ietf-secsh-filexfer-02, section 3).
const (
	fxpInit          = 1
	fxpVersion       = 2
	fxpOpen          = 3
	fxpClose         = 4
	fxpRead          = 5
	fxpWrite         = 6
	fxpFstat         = 8
	fxpOpendir       = 11
	fxpReaddir       = 12
	fxpRemove        = 13
	fxpMkdir         = 14
	fxpRealpath      = 16
	fxpStat          = 17
	fxpRename        = 18
	fxpStatus        = 101
	fxpHandle        = 102
	fxpData          = 103
	fxpName          = 104
	fxpAttrs         = 105
	fxpExtended      = 200
	fxpExtendedReply = 201
)

// The flags of Open.
const (
	Read   = 0x01
	Write  = 0x02
	Create = 0x08
	Excl   = 0x20
)

const (
	attrSize        = 0x01
	attrOwner       = 0x02
	attrPermissions = 0x04
	attrTimes       = 0x08
	attrExtended    = 0x80000000

	// maxPacket is the longest answer that is accepted. It is OpenSSH's limit for a message; no valid answer exceeds it, since
	// the Client never requests more data than fits into it.
	maxPacket = 256 << 10
)

// errFormat means that an answer contradicts its own lengths; it ends the connection.
var errFormat = errors.New("sftp: malformed answer")

// Attrs are a server's attributes of a file. Any of them may be missing.
type Attrs struct {
	Size    int64
	HasSize bool
	mode    uint32
	hasMode bool
	MTime   time.Time
}

// Kind of a file.
type Kind int

// The kinds. Unknown: the server may omit the kind.
const (
	Unknown Kind = iota
	Regular
	Directory
	Link
	Other
)

// Kind returns the kind in the permissions, whose upper bits are the type.
func (a Attrs) Kind() Kind {
	switch {
	case !a.hasMode || a.mode&0o170000 == 0:
		return Unknown
	case a.mode&0o170000 == 0o100000:
		return Regular
	case a.mode&0o170000 == 0o040000:
		return Directory
	case a.mode&0o170000 == 0o120000:
		return Link
	}
	return Other
}

// String returns the name of the kind for an error or a log line.
func (k Kind) String() string {
	return [...]string{"file of unknown kind", "regular file", "directory", "symbolic link", "special file"}[k]
}

// Mode returns the kind as a type of the standard library.
func (k Kind) Mode() fs.FileMode {
	return [...]fs.FileMode{fs.ModeIrregular, 0, fs.ModeDir, fs.ModeSymlink, fs.ModeIrregular}[k]
}

// Name is one entry of a directory.
type Name struct {
	Name string
	Attrs
}

// Space is the space of a server's file system. Blocks is 0 if the server does not know it, as on many network file systems.
type Space struct {
	Blocks, Available, BlockSize uint64
}

// packet is a request under construction: length, type, id, fields.
type packet []byte

func newPacket(kind byte) packet { return packet{0, 0, 0, 0, kind, 0, 0, 0, 0} }

func (p packet) uint32(v uint32) packet { return binary.BigEndian.AppendUint32(p, v) }
func (p packet) uint64(v uint64) packet { return binary.BigEndian.AppendUint64(p, v) }
func (p packet) string(s string) packet { return append(p.uint32(uint32(len(s))), s...) }
func (p packet) finish(id uint32, n int) { // n is the number of data bytes that follow
	binary.BigEndian.PutUint32(p, uint32(len(p)-4+n))
	binary.BigEndian.PutUint32(p[5:], id)
}

// fields parses an answer. After the first incomplete field it stays bad.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n uint64) []byte {
	if f.bad || n > uint64(len(f.b)) {
		f.bad = true
		return nil
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) uint32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) uint64() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (f *fields) string() string { return string(f.take(uint64(f.uint32()))) }

func (f *fields) attrs() (a Attrs) {
	flags := f.uint32()
	if flags&attrSize != 0 {
		a.Size, a.HasSize = int64(f.uint64()), true
	}
	if flags&attrOwner != 0 {
		f.take(8)
	}
	if flags&attrPermissions != 0 {
		a.mode, a.hasMode = f.uint32(), true
	}
	if flags&attrTimes != 0 {
		f.take(4)
		a.MTime = time.Unix(int64(f.uint32()), 0)
	}
	if flags&attrExtended != 0 {
		for n := f.uint32(); n > 0 && !f.bad; n-- {
			f.take(uint64(f.uint32()))
			f.take(uint64(f.uint32()))
		}
	}
	return a
}

// names parses the answer to READDIR: for each entry the name, a line as printed by ls, and attributes.
func (f *fields) names() (names []Name) {
	n := f.uint32()
	for ; n > 0 && !f.bad; n-- {
		name, long := f.string(), f.string()
		a := f.attrs()
		if !a.hasMode && long != "" {
			// The permissions are optional, but the line shows at least the kind of the file.
			if mode, ok := map[byte]uint32{'d': 0o040000, '-': 0o100000, 'l': 0o120000}[long[0]]; ok {
				a.mode, a.hasMode = mode, true
			}
		}
		if !f.bad {
			names = append(names, Name{name, a})
		}
	}
	return names
}
