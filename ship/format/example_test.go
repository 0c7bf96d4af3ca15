package format_test

import (
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/penstock-go/penstock/ship/format"
)

// An object's content, decompressed by package compress, is read record by record.
func ExampleNewReader() {
	content := `{"seq":41,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"<134>accept \"web\"","spool":"4k7q0000000000000000000001"}
{"seq":42,"ts":"2026-11-22T08:00:00.000250000Z","src":"","data_b64":"/w==","spool":"4k7q0000000000000000000001"}
`
	r, err := format.NewReader(format.NDJSON, strings.NewReader(content))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for {
		seq, rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err) // format.ErrCorrupt: damaged, cut off, or not ours
		}
		fmt.Printf("%s %d %v %v %q\n", r.Spool(), seq, time.Unix(0, rec.Time).UTC(), rec.Src, rec.Data)
	}
	// Output:
	// 4k7q0000000000000000000001 41 2026-11-22 08:00:00.000000001 +0000 UTC 192.0.2.7:514 "<134>accept \"web\""
	// 4k7q0000000000000000000001 42 2026-11-22 08:00:00.00025 +0000 UTC invalid AddrPort "\xff"
}
