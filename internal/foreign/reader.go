package foreign

import "io"

// Reader returns r, with panics of Read and Close converted to errors in which what names the reader. note is called with each
// error of r, and returns the error that the caller gets.
func Reader(what string, r io.ReadCloser, note func(error) error) io.ReadCloser {
	return &reader{what, r, note}
}

type reader struct {
	what string
	r    io.ReadCloser
	note func(error) error
}

func (r *reader) Read(p []byte) (n int, err error) {
	if err = Catch(r.what, func() (err error) { n, err = r.r.Read(p); return err }); err == nil || err == io.EOF {
		return n, err
	}
	return n, r.note(err)
}

func (r *reader) Close() error {
	if err := Catch(r.what, r.r.Close); err != nil {
		return r.note(err)
	}
	return nil
}
