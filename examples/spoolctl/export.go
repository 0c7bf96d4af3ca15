package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const exportText = `It writes records to files outside of the spool, reads them back, and describes them in a summary: to one file if the name has the ending
of a format (records.ndjson, records.log.gz, records.ndjson.zst), otherwise to a directory, with a file for each segment. The summary is
export.json in the directory, or beside the file. It is written last: without it an export is not complete. It has, for each file,
sequence numbers, counts, size and SHA-256, and all ranges that are missing.

Format ndjson has everything, and the audit's tools read it. Format lines has the payloads alone.

Examples:
  spoolctl export -to /tmp/records /var/spool/penstock/vpn
  spoolctl export -to /tmp/hour.ndjson.zst -since 1h /var/spool/penstock/vpn
  spoolctl export -to /tmp/records -format lines -codec gzip -records 1000-2000 /var/spool/penstock/vpn`

func exportCommand() *command {
	c := newCommand("export", "writes records to files and verifies them", "-to FILE|DIR [-format ndjson|lines] [-codec C] [filters] DIR", exportText)
	c.one = true
	x := &export{filter: new(filter)}
	x.filter.flags(c.flags)
	c.flags.StringVar(&x.to, "to", "", "`PATH` of the file or directory to make")
	c.flags.StringVar(&x.form, "format", format.NDJSON, "`ndjson|lines`: format of files in a directory")
	c.flags.StringVar(&x.codec, "codec", "zstd", "`"+strings.Join(compress.Names(), "|")+"`: compression of files in a directory")
	x.damaged = damagedFlag(c)
	c.do = func(ctx context.Context, to *output, dirs []string) (int, error) {
		if err := x.check(dirs[0]); err != nil {
			return 0, err
		}
		s, err := x.run(ctx, to, dirs[0])
		if err != nil {
			return 0, err
		}
		if len(s.Missing) > 0 {
			s.code = exitDamaged
		}
		return s.code, show(to, []*summary{s}, func(w io.Writer, s *summary) { s.write(w, x.to) })
	}
	return c
}

// export holds the command line of the command export.
type export struct {
	to, form, codec string
	filter          *filter
	damaged         *bool
	single          bool // one file for all records
	compressor      compress.Codec
	output          *exported // the file being written
}

// summary describes an export. It is written to export.json.
type summary struct {
	Version int       `json:"version"` // 1
	Time    time.Time `json:"time"`
	Spool   string    `json:"spool"`
	Class   string    `json:"class"`
	Dir     string    `json:"dir"` // the directory of the spool
	Format  string    `json:"format"`
	Codec   string    `json:"codec"`
	Records uint64    `json:"records"`
	Bytes   uint64    `json:"bytes"` // payload
	// Files are ordered by their records. Each was read back.
	Files   []*exported `json:"files"`
	Missing []missing   `json:"missing"`

	code int // the exit code
}

// exported describes a file.
type exported struct {
	Name      string `json:"name"`
	Segment   uint64 `json:"segment,omitempty"` // 0 if it has records of several segments
	First     uint64 `json:"first"`
	Last      uint64 `json:"last"`
	Records   uint64 `json:"records"`
	Bytes     uint64 `json:"bytes"` // payload
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	RawBytes  int64  `json:"raw_bytes"` // uncompressed
	RawSHA256 string `json:"raw_sha256"`

	path   string
	file   *os.File
	buf    *bufio.Writer
	zw     io.WriteCloser
	ndjson format.Writer
	line   []byte
	raw    hash.Hash
}

func (x *export) check(dir string) error {
	if x.to == "" {
		return fmt.Errorf("%w: -to is missing", errUsage)
	}
	if f, codec, err := format.ByKey(x.to); err == nil {
		x.single, x.form, x.codec = true, f.Name, codec.Info().Name
	}
	var err error
	if x.compressor, err = compress.ByName(x.codec); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if x.form != format.NDJSON && x.form != format.Lines {
		return fmt.Errorf("%w: -format %q: use ndjson or lines", errUsage, x.form)
	}
	to, err1 := realPath(x.to)
	spoolDir, err2 := realPath(dir)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if rel, err := filepath.Rel(spoolDir, to); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("%w: %s is in the directory of the spool", errUsage, x.to)
	}
	return x.isFree()
}

// realPath resolves the symbolic links of a path, as far as the path exists.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if dir := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && dir != path {
		if dir, err = realPath(dir); err == nil {
			real = filepath.Join(dir, filepath.Base(path))
		}
	}
	return real, err
}

// isFree returns an error if the export would overwrite something.
func (x *export) isFree() error {
	if !x.single {
		entries, err := os.ReadDir(x.to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(entries) > 0 {
			return fmt.Errorf("%w: %s is not empty", errUsage, x.to)
		}
		return os.MkdirAll(x.to, 0o750)
	}
	for _, path := range []string{x.to, x.summaryPath()} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is there already", errUsage, path)
		}
	}
	return nil
}

func (x *export) summaryPath() string {
	if x.single {
		return x.to + ".export.json"
	}
	return filepath.Join(x.to, "export.json")
}

// run writes the files, reads them back, and writes the summary.
func (x *export) run(ctx context.Context, to *output, dir string) (*summary, error) {
	d, segments, err := readSegments(dir)
	if err != nil {
		return nil, err
	}
	s := &summary{
		Version: 1, Time: time.Now().UTC(), Spool: d.Spool, Class: d.Class, Dir: dir, Format: x.form, Codec: x.codec, Files: []*exported{},
		Missing: []missing{},
	}
	if s.code = warnUnreadable(to, segments, x.filter); s.code != 0 {
		to.warn("their records are listed as missing as far as their numbers are known")
	}
	var done, of atomic.Int64
	for _, seg := range segments {
		of.Add(max(seg.Size, seg.ObjectSize))
	}
	stop := to.progress(func() (float64, string) {
		return float64(done.Load()) / max(1, float64(of.Load())), units.Size(done.Load()) + " of " + units.Size(of.Load())
	})
	w := &walker{d: d, segments: segments, filter: x.filter}
	if *x.damaged {
		if w.damaged, err = d.ReadDamaged(); err != nil {
			return nil, err
		}
	}
	w.read = func(seg *spool.SegmentFile) { done.Add(max(seg.Size, seg.ObjectSize)) }
	w.miss = func(m missing) { s.Missing = append(s.Missing, m) }
	w.each = func(seg *spool.SegmentFile, seq uint64, rec *segment.Record) error { return x.write(s, seg, seq, rec) }
	err = w.run(ctx)
	if err == nil {
		err = x.end(s)
	} else if x.output != nil {
		_ = x.output.file.Close()
		_ = os.Remove(x.output.file.Name())
	}
	if err == nil {
		err = s.verify(ctx)
	}
	stop()
	if err != nil {
		return nil, err
	}
	return s, s.save(x.summaryPath())
}

// write writes a record to the file for its segment.
func (x *export) write(s *summary, seg *spool.SegmentFile, seq uint64, rec *segment.Record) error {
	if x.output != nil && !x.single && x.output.Segment != seg.Number {
		if err := x.end(s); err != nil {
			return err
		}
	}
	if x.output == nil {
		if err := x.begin(s, seg, seq); err != nil {
			return err
		}
	}
	o := x.output
	line, err := o.line[:0], error(nil)
	if x.form == format.NDJSON {
		line, err = o.ndjson.Record(line, seq, rec)
	} else {
		line = append(line, rec.Data...)
		if n := len(line); n == 0 || line[n-1] != '\n' {
			line = append(line, '\n')
		}
	}
	if err == nil {
		o.raw.Write(line)
		_, err = o.zw.Write(line)
	}
	if err != nil {
		return err
	}
	if cap(line) <= 1<<20 {
		o.line = line
	}
	o.Last, o.Records, o.Bytes, o.RawBytes = seq, o.Records+1, o.Bytes+uint64(len(rec.Data)), o.RawBytes+int64(len(line))
	s.Records, s.Bytes = s.Records+1, s.Bytes+uint64(len(rec.Data))
	if s.Records == x.filter.limit {
		return errEnough
	}
	return nil
}

// begin creates a file.
func (x *export) begin(s *summary, seg *spool.SegmentFile, first uint64) error {
	o := &exported{First: first, path: x.to, raw: sha256.New(), ndjson: format.NewNDJSONWriter(s.Spool)}
	if !x.single {
		f, err := format.ByName(x.form)
		if err != nil {
			return err
		}
		o.Segment = seg.Number
		name := filepath.Join(x.to, fmt.Sprintf("%s-%016x", s.Class, seg.Number))
		o.path = name + f.Ext + x.compressor.Info().Ext
		for i := 2; slices.ContainsFunc(s.Files, func(e *exported) bool { return e.path == o.path }); i++ {
			o.path = fmt.Sprintf("%s-%d%s%s", name, i, f.Ext, x.compressor.Info().Ext) // records of another segment came in between
		}
	}
	o.Name = filepath.Base(o.path)
	var err error
	if o.file, err = os.OpenFile(o.path+".tmp", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640); err != nil {
		return err
	}
	o.buf = bufio.NewWriterSize(o.file, 256<<10)
	level, err := x.compressor.Info().Level(0)
	if err == nil {
		o.zw, err = x.compressor.NewWriter(o.buf, level)
	}
	x.output = o
	return err
}

// end completes a file. It gets its name only once its contents are on the disk.
func (x *export) end(s *summary) error {
	o := x.output
	if o == nil {
		return nil
	}
	err := o.zw.Close()
	if err == nil {
		err = o.buf.Flush()
	}
	if err == nil {
		err = o.file.Sync()
	}
	var fi os.FileInfo
	if err == nil {
		fi, err = o.file.Stat()
	}
	err = errors.Join(err, o.file.Close())
	if err == nil {
		o.Size, o.RawSHA256 = fi.Size(), hex.EncodeToString(o.raw.Sum(nil))
		err = os.Rename(o.path+".tmp", o.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(o.path))
	}
	if err != nil {
		return err
	}
	s.Files, x.output = append(s.Files, o), nil
	return nil
}

// verify reads every file back, and checks its bytes and the number of its records.
func (s *summary) verify(ctx context.Context) error {
	for _, o := range s.Files {
		if err := o.verify(ctx, s); err != nil {
			return fmt.Errorf("%w: %s was not read back as it was written: %w", errDamaged, o.path, err)
		}
	}
	return nil
}

func (o *exported) verify(ctx context.Context, s *summary) error {
	f, err := os.Open(o.path)
	if err != nil {
		return err
	}
	defer f.Close()
	stored := sha256.New()
	codec, err := compress.ByName(s.Codec)
	if err != nil {
		return err
	}
	zr, err := codec.NewReader(io.TeeReader(&ctxReader{ctx, f}, stored))
	if err != nil {
		return err
	}
	defer zr.Close()
	raw := sha256.New()
	content := io.TeeReader(zr, raw)
	if s.Format == format.NDJSON {
		if err := o.count(content); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	if _, err := io.Copy(stored, f); err != nil { // the bytes that the codec has not read
		return err
	}
	o.SHA256 = hex.EncodeToString(stored.Sum(nil))
	if sum := hex.EncodeToString(raw.Sum(nil)); sum != o.RawSHA256 {
		return fmt.Errorf("its content has the SHA-256 %s, and %s was written", sum, o.RawSHA256)
	}
	return nil
}

// count reads the records of a file.
func (o *exported) count(content io.Reader) error {
	r, err := format.NewReader(format.NDJSON, content)
	if err != nil {
		return err
	}
	defer r.Close()
	n, last := uint64(0), uint64(0)
	for {
		seq, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		n, last = n+1, seq
	}
	if n != o.Records || last != o.Last {
		return fmt.Errorf("it has %d records up to %d, and %d up to %d were written", n, last, o.Records, o.Last)
	}
	return nil
}

// save writes the summary atomically.
func (s *summary) save(path string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = errors.Join(syncDir(filepath.Dir(path)), syncDir(filepath.Dir(filepath.Dir(path)))) // the directory may be new
	}
	return err
}

// syncDir makes the names in a directory durable. After an export the user may delete its source, and without this sync a power
// cut could lose the names of files whose contents were synced.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // Windows has no such call, and keeps names by itself
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil // this file system does not support the call
	}
	return errors.Join(err, d.Close())
}

func (s *summary) write(w io.Writer, to string) {
	fmt.Fprintf(w, "%s: %s of class %s (%s) in %s, read back\n", terminal.Printable(to), count(s.Records, "record"), terminal.Printable(s.Class), units.Size(s.Bytes), count(len(s.Files), "file"))
	for _, m := range s.Missing {
		fmt.Fprintf(w, "  %s\n", terminal.Printable(m.String()))
	}
}
