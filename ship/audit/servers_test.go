package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	"github.com/penstock-go/penstock/spool/object"
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

// TestRottenOnServers: bytes that have changed in storage, while the place still states their old checksum, are damage at every
// kind of place, and a damaged document does not end the audit.
func TestRottenOnServers(t *testing.T) {
	p := places{"idc": shiptest.Memory(), "s3": shiptest.Memory()}
	var objects []string
	newChain(t, p, "idc", nil).add(2, func(m *ship.Manifest) {
		for _, s := range m.Segments {
			objects = append(objects, s.Key)
		}
	}).head(p["s3"], 0, false)
	p.closeSpool(t, "vpn", testSpool, nil, "idc")
	newChain(t, p, "s3", nil).add(2, nil).head(p["idc"], 0, false)
	// An object ahead of its chain's end, which a deep audit reads too.
	stray := strings.Replace(objects[1], "-000000000000000b-0000000000000014", "-0000000000000015-000000000000001e", 1)
	p["idc"].Set(stray, p["idc"].Bytes(objects[1]))
	rotten := map[string]string{objects[0]: audit.ObjectAltered, stray: audit.ObjectAltered}
	for _, key := range p["idc"].Keys() {
		if strings.Contains(key, "/heads/") {
			rotten[key] = audit.HeadWrong
		} else if isClosing.MatchString(key) {
			rotten[key] = audit.ClosingWrong
		}
	}
	note := object.RepairPrefix + strings.TrimPrefix(objects[0], "class=")
	p["idc"].Set(note, []byte("{\"a repair\": 1}"))
	rotten[note] = audit.ObjectUnknown
	if len(rotten) != 5 {
		t.Fatalf("%q", rotten)
	}
	s3, s3Dir := startS3(t, p["idc"], func(http.ResponseWriter, *http.Request) bool { return false })
	dir := filesOf(t, p["idc"])
	for url, dir := range map[string]string{"file://" + filepath.ToSlash(dir): dir, s3: s3Dir} {
		for key := range rotten {
			rot(t, filepath.Join(dir, filepath.FromSlash(key)))
		}
		d, err := open.Destination(t.Context(), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := d.(io.Closer); ok {
			defer c.Close()
		}
		r, err := audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{{Name: "idc", Destination: d}}})
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		found := map[string]string{}
		for _, f := range r.Findings {
			if rotten[f.Key] != "" {
				found[f.Key] = f.Code
			}
		}
		if !maps.Equal(found, rotten) {
			t.Errorf("%s: found %v, want %v", url, found, rotten)
		}
	}
}

// rot changes a byte of a file, whose size and time stay.
func rot(t *testing.T, path string) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, fi.ModTime(), fi.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// onDisk writes what a place holds into a directory, and makes one object very long.
func onDisk(t *testing.T, m *shiptest.MemoryDestination, key string) string {
	t.Helper()
	dir := filesOf(t, m)
	if err := os.Truncate(filepath.Join(dir, filepath.FromSlash(key)), long); err != nil {
		t.Skip("no file can be that long here: ", err)
	}
	return dir
}

// filesOf writes what a place holds into a directory.
func filesOf(t *testing.T, m *shiptest.MemoryDestination) string {
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
	return dir
}

// endlessS3 is a store that gives one object and then zeros until nobody reads on.
func endlessS3(t *testing.T, m *shiptest.MemoryDestination, key string) string {
	t.Helper()
	url, _ := startS3(t, m, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, key) {
			return false
		}
		w.Header().Set("ETag", `"x"`)
		_, err := w.Write(m.Bytes(key))
		for zeros := make([]byte, 1<<16); err == nil; {
			_, err = w.Write(zeros)
		}
		return true
	})
	return url
}

// startS3 starts a store that holds what a place holds, as files below dir. The store answers the requests that answer does not.
func startS3(t *testing.T, m *shiptest.MemoryDestination, answer func(http.ResponseWriter, *http.Request) bool) (url, dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	store, err := s3d.New(dir, &s3d.Options{AccessKey: "a", SecretKey: "b"})
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
		if calm.Load() || !answer(w, r) {
			store.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	url = fmt.Sprintf("s3://penstock/p?endpoint=%s&region=us-east-1&path_style=true", srv.URL)
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
	return url, filepath.Join(dir, "penstock", "p")
}
