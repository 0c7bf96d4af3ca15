package compress

import (
	"bufio"
	"io"
)

// noneCodec passes the bytes through.
var noneCodec = func() *codec {
	c := newCodec(Info{Name: "none"}, func(int) encoder { return &plainWriter{} }, func() decoder { return &plainReader{} })
	c.emptyOK = true
	return c
}()

type plainWriter struct{ w io.Writer }

func (p *plainWriter) Reset(w io.Writer)           { p.w = w }
func (p *plainWriter) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p *plainWriter) Close() error                { return nil }

type plainReader struct{ r *bufio.Reader }

func (p *plainReader) Reset(r *bufio.Reader) error { p.r = r; return nil }
func (p *plainReader) Read(b []byte) (int, error)  { return p.r.Read(b) }
