package audit_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// long is what a file is made to be, without taking room.
const long = 64 << 30

// TestEndlessObjectsOnServers: an object that does not end is found by its line, in a directory, over SFTP and over S3.
func TestEndlessObjectsOnServers(t *testing.T) {
	p := places{"idc": shiptest.Memory()}
	var key string
	newChain(t, p, "idc", nil).add(1, func(m *ship.Manifest) { key = m.Segments[0].Key }).add(0, final)
	for name, start := range map[string]func(t *testing.T) string{
		"directory": func(t *testing.T) string { return "file://" + filepath.ToSlash(onDisk(t, p["idc"], key)) },
		"SFTP": func(t *testing.T) string {
			s, err := sftpd.Start(onDisk(t, p["idc"], key), t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s.URL("/")
		},
		"S3": func(t *testing.T) string { return endlessS3(t, p["idc"], key) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "SFTP" && strconv.IntSize == 32 {
				t.Skip("the test's server cannot open such a file: os.Root lacks O_LARGEFILE on 32-bit systems")
			}
			d, err := open.Destination(t.Context(), start(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			if c, ok := d.(io.Closer); ok {
				t.Cleanup(func() {
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			o := &audit.Options{Deep: true, Progress: new(audit.Progress), Places: []audit.Place{{Name: "far", Destination: d}}}
			r, err := audit.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if f := finding(t, r, audit.ObjectAltered, "far"); f.Key != key || !strings.Contains(f.Detail, "its size is more than") {
				t.Errorf("%+v", f)
			}
			if n := o.Progress.Bytes.Load(); n > 1<<20 {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

// onDisk writes what a place holds into a directory, and makes one object very long.
func onDisk(t *testing.T, m *shiptest.MemoryDestination, key string) string {
	t.Helper()
	dir := t.TempDir()
	for _, k := range m.Keys() {
		path := filepath.Join(dir, filepath.FromSlash(k))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, m.Bytes(k), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, filepath.FromSlash(key)), long); err != nil {
		t.Skip("no file can be that long here: ", err)
	}
	return dir
}

// endlessS3 is a store that gives one object and then zeros until nobody reads on.
func endlessS3(t *testing.T, m *shiptest.MemoryDestination, key string) string {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	store, err := s3d.New(t.TempDir(), &s3d.Options{AccessKey: "a", SecretKey: "b"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var calm atomic.Bool // while the objects are put there
	calm.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calm.Load() || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, key) {
			store.ServeHTTP(w, r)
			return
		}
		w.Header().Set("ETag", `"x"`)
		_, err := w.Write(m.Bytes(key))
		for zeros := make([]byte, 1<<16); err == nil; {
			_, err = w.Write(zeros)
		}
	}))
	t.Cleanup(srv.Close)
	url := fmt.Sprintf("s3://penstock/p?endpoint=%s&region=us-east-1&path_style=true", srv.URL)
	d, err := open.Destination(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range m.Keys() {
		b := m.Bytes(k)
		o := ship.BytesObject(k, testSpool, b)
		if _, err := d.Put(context.Background(), o, io.NewSectionReader(strings.NewReader(string(b)), 0, o.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if c, ok := d.(io.Closer); ok {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	calm.Store(false)
	return url
}
