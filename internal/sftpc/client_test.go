package sftpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers each request with the packets that answer returns, in any order and number.
func server(t *testing.T, answer func(kind byte, id uint32, body []byte) [][]byte) *Client {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer there.Close()
		for {
			kind, left, err := header(there)
			if err != nil {
				return
			}
			b := make([]byte, left)
			if _, err := io.ReadFull(there, b); err != nil {
				return
			}
			if kind == fxpInit {
				p := packet{0, 0, 0, 0, fxpVersion}.uint32(3).string("a@b").string("1")
				binary.BigEndian.PutUint32(p, uint32(len(p)-4))
				there.Write(p)
				continue
			}
			for _, p := range answer(kind, binary.BigEndian.Uint32(b), b[4:]) {
				if p == nil {
					return
				}
				if _, err := there.Write(p); err != nil {
					return
				}
			}
		}
	}()
	c, err := New(here, here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c
}

func reply(kind byte, id uint32, p packet) []byte {
	q := append(newPacket(kind), p...)
	q.finish(id, 0)
	return q
}

// TestOverlap: answers may arrive in any order, and a round trip is counted only when a request is sent after an answer.
func TestOverlap(t *testing.T) {
	var held [][]byte
	c := server(t, func(kind byte, id uint32, body []byte) [][]byte {
		held = append(held, reply(fxpAttrs, id, packet{}.uint32(attrSize).uint64(uint64(id))))
		if len(held) < 3 {
			return nil
		}
		out := [][]byte{held[2], held[0], held[1]}
		held = nil
		return out
	})
	if !c.Has("a@b", "1") || c.Has("a@b", "2") || c.Has("c", "") {
		t.Error("extensions are not what the server said")
	}
	x := c.Exchange(nil)
	for trip := 1; trip <= 2; trip++ {
		p := []*Pending[Attrs]{x.Stat("a"), x.Stat("b"), x.Stat("c")}
		for i := range p {
			a, err := p[i].Wait()
			if want := int64(3*(trip-1) + i + 1); err != nil || a.Size != want {
				t.Errorf("answer %d is %+v, %v, want that to request %d", i, a, err, want)
			}
		}
		if x.Trips() != trip || x.Requests() != 3*trip {
			t.Errorf("%d requests in %d round trips, want %d in %d", x.Requests(), x.Trips(), 3*trip, trip)
		}
	}
	if !x.Answered() || c.Exchange(nil).Answered() {
		t.Error("Answered is not what came")
	}
}

// TestHostile: an invalid answer ends the connection, and no caller waits indefinitely or allocates too much memory.
func TestHostile(t *testing.T) {
	status := func(id uint32) []byte { return reply(fxpStatus, id, packet{}.uint32(0).string("").string("")) }
	for name, answer := range map[string]func(kind byte, id uint32, body []byte) [][]byte{
		"endless packet": func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{{0xff, 0xff, 0xff, 0xff, fxpData}} },
		"empty packet":   func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{{0, 0, 0, 0, 0}} },
		"no id":          func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{{0, 0, 0, 1, fxpStatus}} },
		"unasked":        func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{status(id + 7)} },
		"twice":          func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{status(id), status(id)} },
		"more than asked": func(_ byte, id uint32, _ []byte) [][]byte {
			return [][]byte{reply(fxpData, id, packet{}.string("0123456789"))}
		},
		"data cut off":    func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{reply(fxpData, id, packet{}.uint32(9))} },
		"connection ends": func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{nil} },
		"attrs cut off": func(_ byte, id uint32, _ []byte) [][]byte {
			return [][]byte{reply(fxpAttrs, id, packet{}.uint32(attrSize))}
		},
		"other kind": func(_ byte, id uint32, _ []byte) [][]byte {
			return [][]byte{reply(fxpHandle, id, packet{}.string("x"))}
		},
		"OK for an answer": func(_ byte, id uint32, _ []byte) [][]byte { return [][]byte{status(id)} },
	} {
		t.Run(name, func(t *testing.T) {
			x := server(t, answer).Exchange(nil)
			_, err := x.ReadAt("h", make([]byte, 4), 0).Wait()
			_, serr := x.Stat("a").Wait()
			if err == nil && serr == nil {
				t.Error("both are believed")
			}
		})
	}
}

// TestNames: directory entries with and without permissions; a count larger than the data is refused.
func TestNames(t *testing.T) {
	f := &fields{b: packet{}.uint32(3).
		string("d").string("drwxr-xr-x 2 u g 0 Jan 1 d").uint32(0).
		string("f").string("").uint32(attrSize | attrPermissions | attrTimes | attrExtended).uint64(7).uint32(0o100644).uint32(1).uint32(2).uint32(1).string("k").string("v").
		string("u").string("").uint32(0)}
	names := f.names()
	if f.bad || len(names) != 3 || names[0].Kind() != Directory || names[1].Kind() != Regular || names[1].Size != 7 || names[2].Kind() != Unknown {
		t.Errorf("names are %+v, bad %v", names, f.bad)
	}
	f = &fields{b: packet{}.uint32(1 << 31).string("a").string("a").uint32(0)}
	if names := f.names(); !f.bad || len(names) > 1 {
		t.Errorf("%d names are believed", len(names))
	}
}

func TestStatus(t *testing.T) {
	for code, want := range map[uint32]error{1: io.EOF, 2: fs.ErrNotExist, 3: fs.ErrPermission, 8: ErrUnsupported, 10: fs.ErrNotExist, 11: fs.ErrExist} {
		err := error(&StatusError{Code: code, Message: strings.Repeat("x", 1000)})
		if !errors.Is(err, want) || len(err.Error()) > 400 {
			t.Errorf("status %d is %v, want %v", code, err, want)
		}
	}
	for _, target := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, io.EOF} {
		if errors.Is(&StatusError{Code: 4}, target) {
			t.Errorf("failure is %v", target)
		}
	}
}

// FuzzAnswer: no answer makes a decoder panic, or return more entries than there are bytes.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(packet{}.uint32(1).string("a").string("b").uint32(attrSize).uint64(1)))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		(&fields{b: b}).attrs()
		if names := (&fields{b: b}).names(); len(names) > len(b) {
			t.Errorf("%d names in %d bytes", len(names), len(b))
		}
	})
}
