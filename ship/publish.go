package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Publish stores a small document, such as a drain's report, at every destination under key: one attempt each, in parallel,
// and independent of the chains. Run need not be running. The error names the destinations that did not store it.
func (s *Shipper) Publish(ctx context.Context, key, contentType string, body []byte) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	o := BytesObject(key, s.spool, body)
	o.ContentType = contentType
	lanes := s.all()
	errs := make([]error, len(lanes))
	var wg sync.WaitGroup
	for i, l := range lanes {
		wg.Go(func() {
			if _, err := l.dest.Put(ctx, o, io.NewSectionReader(bytes.NewReader(body), 0, o.Size)); err != nil {
				errs[i] = fmt.Errorf("%s: %w", l.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
