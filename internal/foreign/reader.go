package foreign

import "io"

// Reader returns r with panics of Read and Close as errors. what names the reader in them.
func Reader(what string, r io.ReadCloser) io.ReadCloser { return &reader{what, r} }

type reader struct {
	what string
	r    io.ReadCloser
}

func (r *reader) Read(p []byte) (n int, err error) {
	err = Catch(r.what+": Read", func() (err error) { n, err = r.r.Read(p); return err })
	return n, err
}

func (r *reader) Close() error { return Catch(r.what+": Close", r.r.Close) }
