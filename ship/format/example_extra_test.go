package format_test

import (
	"bufio"
	"compress/flate"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// deflate is a codec of the program's own: that of the standard library.
type deflate struct{}

func (deflate) Info() compress.Info {
	return compress.Info{Name: "deflate", Ext: ".deflate", ContentType: "application/octet-stream", MinLevel: 1, MaxLevel: 9, DefaultLevel: 6}
}

func (deflate) NewWriter(w io.Writer, level int) (io.WriteCloser, error) {
	return flate.NewWriter(w, level)
}

func (deflate) NewReader(r io.Reader) (io.ReadCloser, error) {
	src := bufio.NewReader(r)
	return &inflate{flate.NewReader(src), src}, nil
}

// inflate marks damage, and accepts nothing after the end: the auditor needs both.
type inflate struct {
	io.ReadCloser
	src *bufio.Reader
}

func (i *inflate) Read(p []byte) (int, error) {
	n, err := i.ReadCloser.Read(p)
	damage := flate.CorruptInputError(0)
	switch {
	case err == io.EOF:
		if _, more := i.src.ReadByte(); more == nil {
			return n, fmt.Errorf("%w: bytes follow the end", compress.ErrCorrupt)
		}
	case errors.As(err, &damage), errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%w: %w", compress.ErrCorrupt, err)
	}
	return n, err
}

// csvFormat is a format of the program's own: number, time, and the payload in hex.
var csvFormat = &format.Format{
	Name: "csv", Ext: ".csv", ContentType: "text/csv", Canonical: true,
	Write: func(*segment.Reader) (format.Writer, error) { return csvWriter{}, nil },
	Read:  func(r io.Reader) (format.Reader, error) { return &csvReader{s: bufio.NewScanner(r)}, nil },
}

type csvWriter struct{}

func (csvWriter) Record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error) {
	dst = append(strconv.AppendUint(dst, seq, 10), ',')
	dst = append(strconv.AppendInt(dst, rec.Time, 10), ',')
	return append(hex.AppendEncode(dst, rec.Data), '\n'), nil
}

func (csvWriter) Finish(dst []byte, _ uint64) ([]byte, error) { return dst, nil }

type csvReader struct{ s *bufio.Scanner }

func (r *csvReader) Next() (seq uint64, rec segment.Record, err error) {
	if !r.s.Scan() {
		if err := r.s.Err(); err != nil {
			return 0, rec, err
		}
		return 0, rec, io.EOF
	}
	col := strings.Split(r.s.Text(), ",")
	if len(col) != 3 {
		return 0, rec, fmt.Errorf("%w: %d columns", format.ErrCorrupt, len(col))
	}
	seq, err1 := strconv.ParseUint(col[0], 10, 64)
	t, err2 := strconv.ParseInt(col[1], 10, 64)
	data, err3 := hex.DecodeString(col[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, rec, fmt.Errorf("%w: %w", format.ErrCorrupt, err)
	}
	return seq, segment.Record{Time: t, Data: data}, nil
}

func (r *csvReader) Spool() string { return "" }
func (r *csvReader) Close() error  { return nil }

// A codec and a format of the program's own are values that are passed to the shipper, the auditor and every reader of the
// objects. Nothing is registered.
func ExampleExtra() {
	own := format.Extra{Formats: []*format.Format{csvFormat}, Codecs: []compress.Codec{deflate{}}}
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store := shiptest.Memory()
	sp, err := spool.Open(dir, &spool.Options{Destinations: []string{"store"}})
	if err != nil {
		log.Fatal(err)
	}
	shipper, err := ship.New(sp, &ship.Options{
		Destinations: map[string]ship.Destination{"store": store}, Extra: own, Format: "csv", Codec: "deflate",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- shipper.Run(ctx) }()
	_, err = sp.Append(ctx, []segment.Record{{Time: 1, Data: []byte("one")}, {Time: 2, Data: []byte("two")}})
	err = errors.Join(err, sp.Seal(ctx), shipper.Flush(ctx), shipper.Finalize(ctx, "store"))
	stop()
	if err := errors.Join(err, <-ran, sp.Close()); err != nil {
		log.Fatal(err)
	}

	err = open.Records(context.Background(), store, &open.RecordsOptions{Extra: own}, func(seq uint64, r segment.Record) error {
		fmt.Printf("%d %s\n", seq, r.Data)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	result, err := audit.Run(context.Background(), &audit.Options{Places: []audit.Place{{Name: "store", Destination: store}}, Deep: true, Extra: own})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Verdict, len(result.Findings))
	// Output:
	// 1 one
	// 2 two
	// complete 0
}
