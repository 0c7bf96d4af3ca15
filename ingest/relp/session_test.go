package relp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ingest"
)

const testOffers = "relp_version=1\ncommands=syslog"

// outcome is the result of a session for a stream.
type outcome struct {
	frames []string
	lost   []ingest.LostFrame
	out    string
	left   int
	err    string
}

// feed hands a stream to a session as a connection does, in pieces of the given sizes, over and over.
func feed(t testing.TB, s *session, stream []byte, sizes []byte) (o outcome) {
	t.Helper()
	var buf []byte
	for i, eof := 0, false; !eof; i++ {
		size := len(stream)
		if len(sizes) > 0 {
			size = min(size, 1+int(sizes[i%len(sizes)]))
		}
		buf = append(buf, stream[:size]...)
		stream = stream[size:]
		eof = len(stream) == 0
		for more := true; more; {
			n, frame, err := s.Next(buf[:len(buf):len(buf)], eof)
			if n < 0 || n > len(buf) || n == 0 && frame != nil {
				t.Fatalf("Next(%q) = %d, %q, %v", buf, n, frame, err)
			}
			if frame != nil {
				if len(frame) > s.max {
					t.Fatalf("a frame of %d bytes, the limit is %d", len(frame), s.max)
				}
				o.frames = append(o.frames, string(frame))
			}
			var lost *ingest.LostFrame
			if errors.As(err, &lost) {
				o.lost = append(o.lost, *lost)
				err = nil
				if n == 0 && !eof {
					t.Fatal("lost a frame without a byte")
				}
			}
			buf = buf[n:]
			if err != nil {
				o.err = err.Error()
				eof, more = true, false
			}
			more = more && n > 0
		}
		o.out += string(s.Answers())
		if o.err == "" && len(buf) > s.max+4096 {
			t.Fatalf("%d bytes without a frame, with a limit of %d", len(buf), s.max)
		}
	}
	if o.err == "" {
		o.left = len(buf)
	}
	return o
}

// The transaction number after the largest is 1.
func TestWrap(t *testing.T) {
	s := &session{max: 10, open: true, want: maxNumber - 1}
	o := feed(t, s, []byte("999999998 syslog 1 a\n999999999 syslog 1 b\n1 syslog 1 c\n2 syslog 1 d\n"), nil)
	if strings.Join(o.frames, "") != "abcd" || o.err != "" {
		t.Errorf("%+v", o)
	}
	if want := "999999998 rsp 6 200 OK\n999999999 rsp 6 200 OK\n1 rsp 6 200 OK\n2 rsp 6 200 OK\n"; o.out != want {
		t.Errorf("answered %q", o.out)
	}
	if o := feed(t, s, []byte("0 syslog 1 a\n"), nil); o.err == "" {
		t.Error("0 is a transaction number")
	}
}

// The version that both speak; librelp calls it 0.
func TestVersion(t *testing.T) {
	for offered, want := range map[string]string{"0": "0", "1": "1", "2": "1"} {
		o := feed(t, &session{max: 10, want: 1}, []byte("1 open 14 relp_version="+offered[:1]+"\n"), nil)
		if want := "relp_version=" + want + "\n"; !strings.Contains(o.out, want) {
			t.Errorf("offered %s, answered %q", offered, o.out)
		}
	}
}

// The result of a session does not depend on how the stream arrives, and every frame taken is answered once, in order.
func FuzzSession(f *testing.F) {
	open := fmt.Sprintf("1 open %d %s\n", len(testOffers), testOffers)
	for _, s := range []string{
		open + "2 syslog 5 hello\n3 close 0\n",
		open + "2 syslog 0\n3 syslog 0 \n4 syslog 12 0123456789ab\n5 other 3 abc\n0 hint 1 x\n6 syslog 1 \n\n",
		"1 syslog 1 a\n", "0 syslog 1 a\n", "2 open 0\n", "1234567890 open 0\n", "1 open 999999999 x", "GET / HTTP/1.1\r\n",
		open + "2 syslog 999999999 " + strings.Repeat("x", 100), open + "2 syslog 11 01234567890\n3 syslog 1 a\n",
	} {
		f.Add([]byte(s), []byte{0})
		f.Add([]byte(s), []byte{6, 0, 30})
	}
	f.Fuzz(func(t *testing.T, stream, sizes []byte) {
		fresh := func() *session { return &session{max: 10, want: 1} }
		whole := feed(t, fresh(), stream, nil)
		parts := feed(t, fresh(), stream, slices.Concat(sizes, []byte{0}))
		if fmt.Sprint(whole) != fmt.Sprint(parts) {
			t.Errorf("whole %+v\nparts %+v", whole, parts)
		}
		// The answers are frames themselves.
		acked := 0
		var last uint32
		for out := []byte(whole.out); len(out) > 0; {
			h, n, err := parseHeader(out)
			if n == 0 || err != nil || string(h.command) != "rsp" || h.txnr <= last {
				t.Fatalf("answered %q", whole.out)
			}
			n, data, err := h.frame(out, n)
			if n == 0 || err != nil {
				t.Fatalf("answered %q", whole.out)
			}
			if string(data) == "200 OK" {
				acked++
			}
			last, out = h.txnr, out[n:]
		}
		if whole.err == io.EOF.Error() {
			acked-- // the close
		}
		if acked != len(whole.frames) {
			t.Errorf("%d frames, %d answers: %q", len(whole.frames), acked, whole.out)
		}
	})
}

// BenchmarkSession cuts and answers 1,000 messages an operation.
func BenchmarkSession(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			const n = 1000
			stream := messages(2, n, size)
			s := &session{max: 1 << 20, open: true}
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				s.want = 2
				taken := 0
				for rest := stream; len(rest) > 0; {
					k, frame, err := s.Next(rest, false)
					if frame == nil || err != nil {
						b.Fatal(k, err)
					}
					taken++
					rest = rest[k:]
				}
				if len(s.Answers()) == 0 || taken != n {
					b.Fatal(taken)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/msg")
		})
	}
}

// messages are n frames from a transaction number on.
func messages(txnr, n, size int) (stream []byte) {
	data := bytes.Repeat([]byte("x"), size)
	for i := range n {
		stream = fmt.Appendf(stream, "%d syslog %d %s\n", txnr+i, size, data)
	}
	return slices.Clip(stream)
}
