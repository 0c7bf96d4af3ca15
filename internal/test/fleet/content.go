//go:build linux

package fleet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
)

// Content is what one destination holds, read from its own disk, past Penstock and past the destination's protocol.
type Content struct {
	Name    string
	Objects int
	// Lines counts the lines of each run, by spool.
	Lines map[string]map[string]uint64
	// Runs has the numbers of the lines of each run.
	Runs map[string]*fwlog.Tally
	// Repeated counts record numbers that a spool has used twice, Foreign lines of no run.
	Repeated, Foreign uint64

	seen map[string][]uint64 // a bit for each record number, by spool
}

// readContent reads every object below dir. sent has how many lines each run has.
func readContent(name, dir string, sent map[string]uint64) (*Content, error) {
	c := &Content{Name: name, Lines: map[string]map[string]uint64{}, Runs: map[string]*fwlog.Tally{}, seen: map[string][]uint64{}}
	for run, n := range sent {
		c.Runs[run] = fwlog.NewTally(run, n)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".ndjson.zst") || !strings.Contains(path, "/class=") {
			return err
		}
		c.Objects++
		if err := c.object(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	return c, err
}

// object reads one object.
func (c *Content) object(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return err
	}
	defer z.Close()
	s := bufio.NewScanner(z)
	s.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for s.Scan() {
		line, err := parseLine(s.Bytes())
		if err != nil {
			return err
		}
		c.line(string(line.Spool), line.Seq, line.Data)
	}
	return s.Err()
}

// contentLine is what a line of an object says.
type contentLine struct {
	Seq         uint64
	Data, Spool []byte
}

// parseLine reads a line. One that is as plain as nearly all are is cut into its parts, since a long run has more than ten million lines at
// each destination; any other one is for encoding/json.
func parseLine(b []byte) (l contentLine, err error) {
	if number, rest, ok := bytes.Cut(bytes.TrimPrefix(b, []byte(`{"seq":`)), []byte(`,"ts":"`)); ok && bytes.IndexByte(b, '\\') < 0 {
		_, rest, hasData := bytes.Cut(rest, []byte(`","data":"`))
		data, spool, hasSpool := bytes.Cut(rest, []byte(`","spool":"`))
		spool, ends := bytes.CutSuffix(spool, []byte(`"}`))
		if seq, err := strconv.ParseUint(string(number), 10, 64); err == nil && hasData && hasSpool && ends && !bytes.Contains(data, []byte{'"'}) {
			return contentLine{seq, data, spool}, nil
		}
	}
	var line struct {
		Seq   uint64 `json:"seq"`
		Data  string `json:"data"`
		Spool string `json:"spool"`
	}
	if err := json.Unmarshal(b, &line); err != nil {
		return l, err
	}
	return contentLine{line.Seq, []byte(line.Data), []byte(line.Spool)}, nil
}

// line counts a record.
func (c *Content) line(spool string, seq uint64, data []byte) {
	bits := c.seen[spool]
	for uint64(len(bits)) <= seq/64 {
		bits = append(bits, 0)
	}
	if bits[seq/64]&(1<<(seq%64)) != 0 {
		c.Repeated++
	}
	bits[seq/64] |= 1 << (seq % 64)
	c.seen[spool] = bits

	_, rest, _ := bytes.Cut(data, []byte("run="))
	run, _, _ := bytes.Cut(rest, []byte(" "))
	t := c.Runs[string(run)]
	if t == nil {
		c.Foreign++
		return
	}
	t.Add(data)
	if c.Lines[spool] == nil {
		c.Lines[spool] = map[string]uint64{}
	}
	c.Lines[spool][string(run)]++
}
