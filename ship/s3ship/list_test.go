package s3ship

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
)

// TestListThatCannotGoOn: a store that says there is more and not where, as one that knows only the first version of the
// listing, or that gives the same place again, would end the listing early or never. An auditor must not take that for
// all there is.
func TestListThatCannotGoOn(t *testing.T) {
	for name, token := range map[string]string{"no token": "", "the same token": "<NextContinuationToken>again</NextContinuationToken>"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `<?xml version="1.0"?><ListBucketResult><Name>penstock</Name><IsTruncated>true</IsTruncated>`+token+
					`<Contents><Key>p/a</Key><Size>1</Size></Contents></ListBucketResult>`)
			}))
			t.Cleanup(srv.Close)
			b := at(t, srv.URL, "penstock", static{access, secret}, Options{})
			var err error
			n := 0
			for _, err = range b.List(t.Context(), "") {
				if n++; err != nil || n == 10 {
					break
				}
			}
			if err == nil || n == 10 {
				t.Errorf("%d entries, %v; want an error", n, err)
			}
		})
	}
}

// TestSweepThatCannotGoOn: the same for a list of uploads, which Check and an upload with an unknown outcome request.
func TestSweepThatCannotGoOn(t *testing.T) {
	for name, next := range map[string]func(n int64) string{
		"no marker": func(int64) string { return "" },
		"the same marker": func(int64) string {
			return "<NextKeyMarker>p/a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>"
		},
		"no end": func(n int64) string {
			return fmt.Sprintf("<NextKeyMarker>p/a</NextKeyMarker><NextUploadIdMarker>%d</NextUploadIdMarker>", n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				more := fmt.Sprint(asked.Add(1) < 2*maxEmptyPages)
				_, _ = io.WriteString(w, `<?xml version="1.0"?><ListMultipartUploadsResult><Bucket>penstock</Bucket><IsTruncated>`+more+`</IsTruncated>`+
					next(asked.Load())+`</ListMultipartUploadsResult>`)
			}))
			t.Cleanup(srv.Close)
			_, err := at(t, srv.URL, "penstock", static{access, secret}, Options{}).Sweep(t.Context())
			if err == nil || asked.Load() > maxEmptyPages+1 {
				t.Errorf("%v after %d requests; want an error", err, asked.Load())
			}
		})
	}
}

// TestListTwice: the iterator of a list that begins after a key lists the same again.
func TestListTwice(t *testing.T) {
	s := startStore(t)
	b := s.open(t, "p", "")
	for _, key := range []string{"a", "b", "c"} {
		if _, err := put(t, b, key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	list := b.ListAfter(t.Context(), "", "a")
	for range 2 {
		var keys []string
		for e, err := range list {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, e.Key)
		}
		if !slices.Equal(keys, []string{"b", "c"}) {
			t.Errorf("%q", keys)
		}
	}
}
