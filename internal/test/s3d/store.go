package s3d

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// The directory:
//
//	BUCKET/KEY                      objects, as plain files
//	.s3d/meta/BUCKET/KEY            what S3 keeps beside the bytes (meta, JSON)
//	.s3d/tmp/                       bodies on their way in
//	.s3d/uploads/ID/                a multipart upload: upload.json, part files, part descriptions
const (
	hidden     = ".s3d"
	metaDir    = hidden + "/meta"
	tmpDir     = hidden + "/tmp"
	uploadsDir = hidden + "/uploads"
)

// meta is the metadata that S3 keeps with an object.
type meta struct {
	Size int64 `json:"size"`
	// ModTime is the data file's: metadata that does not fit the file is not believed.
	ModTime time.Time `json:"mod_time"`
	ETag    string    `json:"etag"`
	// Sums in the form of the protocol: base64, followed by "-N" when composite.
	Sums map[algorithm]string `json:"sums"`
	// Type of the sums: FULL_OBJECT or COMPOSITE.
	Type string `json:"type"`
	// Header lines that are given back on reading.
	Header map[string]string `json:"header"`
}

// store keeps objects in a directory.
type store struct {
	root *os.Root
	// mu makes publishing and removing atomic: an object is two files.
	mu sync.Mutex
}

// openStore makes the directory and its buckets if need be. Within os.Root no key can lead out of it.
func openStore(dir string, buckets []string) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range append([]string{metaDir, tmpDir, uploadsDir}, buckets...) {
		if err := root.MkdirAll(d, 0o755); err != nil {
			return nil, errors.Join(err, root.Close())
		}
	}
	return &store{root: root}, nil
}

// checkKey refuses invalid keys, and keys that cannot be file names.
func checkKey(key string) error {
	if len(key) > 1024 {
		return fail(http.StatusBadRequest, "KeyTooLongError", "Your key is too long.")
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 || strings.ContainsAny(part, "\x00\\") {
			return fail(http.StatusBadRequest, "InvalidArgument", "This server keeps objects as files, and %q is no path of one.", key)
		}
	}
	return nil
}

// temp creates a file for an incoming body. A caller that does not publish the file must remove it.
func (s *store) temp() (*os.File, string, error) {
	name := path.Join(tmpDir, newID())
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	return f, name, err
}

// publish makes the closed temporary file tmp the object, at once and whole. With onlyIfAbsent an existing object stays
// as it is, and errPrecondition is returned.
func (s *store) publish(bucket, key, tmp string, m *meta, onlyIfAbsent bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Join(bucket, key)
	switch fi, err := s.root.Lstat(name); {
	case err == nil && fi.IsDir():
		return fail(http.StatusBadRequest, "InvalidArgument", "This server keeps objects as files, and %q is a directory.", key)
	case err == nil && onlyIfAbsent:
		return errPrecondition
	case err != nil && !absent(err):
		return err
	}
	if err := s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fail(http.StatusBadRequest, "InvalidArgument", "This server keeps objects as files, and %q lies below one.", key)
	}
	fi, err := s.root.Stat(tmp)
	if err != nil {
		return err
	}
	m.Size, m.ModTime = fi.Size(), fi.ModTime().UTC()
	// Metadata first: until the data is there it fits no file, and is not believed.
	if err := s.writeJSON(path.Join(metaDir, name), m); err != nil {
		return err
	}
	return s.root.Rename(tmp, name)
}

// get opens an object together with its metadata. errNoSuchKey if it is not there.
func (s *store) get(bucket, key string) (*os.File, *meta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Join(bucket, key)
	f, err := s.root.Open(name)
	if absent(err) {
		return nil, nil, errNoSuchKey
	}
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if fi.IsDir() {
		return nil, nil, errors.Join(errNoSuchKey, f.Close())
	}
	m := &meta{}
	err = s.readJSON(path.Join(metaDir, name), m)
	if err == nil && m.Size == fi.Size() && m.ModTime.Equal(fi.ModTime()) {
		return f, m, nil
	}
	// The file was written or changed outside this server: return its current contents.
	h := newHasher(crc64nvme)
	if _, err := io.Copy(h, f); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	m = newMeta(http.Header{}, h.sums(), "")
	m.Size, m.ModTime = fi.Size(), fi.ModTime()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, m, nil
}

// remove deletes an object; one that is not there is no error, as in S3.
func (s *store) remove(bucket, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Join(bucket, key)
	if fi, err := s.root.Lstat(name); absent(err) || err == nil && fi.IsDir() {
		return nil
	}
	if err := s.root.Remove(name); err != nil {
		return err
	}
	_ = s.root.Remove(path.Join(metaDir, name)) // without its file it is not believed
	for d := path.Dir(name); d != bucket; d = path.Dir(d) {
		if s.root.Remove(d) != nil { // not empty: somebody else's
			break
		}
		_ = s.root.Remove(path.Join(metaDir, d))
	}
	return nil
}

// entry is a listed object.
type entry struct {
	key string
	fi  fs.FileInfo
}

// list returns the bucket's objects below prefix in byte order of their keys.
func (s *store) list(bucket, prefix string) ([]entry, error) {
	var out []entry
	// Start at the deepest directory that prefix names in full: a listing of one hour reads that hour.
	start := path.Join(bucket, prefix[:strings.LastIndexByte(prefix, '/')+1])
	if !fs.ValidPath(start) {
		return nil, nil
	}
	// A walk is ordered by names within directories; keys are sorted as bytes, in which "/" comes between "." and "0".
	err := fs.WalkDir(s.root.FS(), start, func(p string, d fs.DirEntry, err error) error {
		if absent(err) { // gone since its directory was read
			return nil
		}
		if err != nil {
			return err
		}
		key := strings.TrimPrefix(p, bucket+"/")
		if d.IsDir() || !strings.HasPrefix(key, prefix) {
			return nil
		}
		fi, err := d.Info()
		if absent(err) {
			return nil
		}
		out = append(out, entry{key, fi})
		return err
	})
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return out, err
}

// writeJSON replaces a file at once.
func (s *store) writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	tmp := path.Join(tmpDir, newID())
	if err := s.root.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	if err := s.root.Rename(tmp, name); err != nil {
		return errors.Join(err, s.root.Remove(tmp))
	}
	return nil
}

// readJSON returns fs.ErrNotExist for a file that is not there.
func (s *store) readJSON(name string, v any) error {
	b, err := s.root.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("s3d: %s: %w", name, err)
	}
	return nil
}

// absent: not there, or below something that is a file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || isNotDir(err)
}
