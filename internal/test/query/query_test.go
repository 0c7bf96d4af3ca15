package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is a result row of the guide's queries for one hour of one class.
type row struct {
	Class   string
	Day     string
	Hour    string
	Records json.Number
	Numbers json.Number // distinct sequence numbers
	Bytes   json.Number // of the payloads
	First   string      // arrival
	Last    string
}

// gap is a result row for missing numbers within a spool.
type gap struct {
	Class, Spool string
	First, Last  json.Number
}

// deliver fills dir with objects of two classes over several hours, in time that passes at once: texts with everything
// that JSON escapes, and payloads that are no text, compressed with zstd and with gzip. The first class has two spools that
// give the same numbers at the same times, as two hosts do.
func deliver(t *testing.T, dir string) (rows []row) {
	synctest.Test(t, func(t *testing.T) {
		rows = append(deliverClass(t, dir, "vpn", "zstd", 2), deliverClass(t, dir, "web", "gzip", 1)...)
	})
	return rows
}

const hours, perHour = 4, 1200

func deliverClass(t *testing.T, dir, class, codec string, spools int) (rows []row) {
	dest, err := fileship.New(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []*spool.Spool
	for range spools {
		sp, err := spool.Open(t.TempDir(), &spool.Options{Class: class, Destinations: []string{"s3"}, MaxBytes: 1 << 30, Sync: spool.SyncNone})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		defer ships(t, sp, dest, codec)()
		all = append(all, sp)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range hours {
		hour := time.Now().UTC()
		r := row{Class: class, Day: hour.Format(time.DateOnly), Hour: hour.Format("15")}
		records, bytes := 0, 0
		for n := range perHour * spools {
			data := payload(class, records, random)
			rec := segment.Record{Time: time.Now().UnixNano(), Src: netip.MustParseAddrPort("[2001:db8::7]:514"), Data: data, Attrs: attrs(t, records)}
			if _, err := all[n%spools].Append(t.Context(), []segment.Record{rec}); err != nil {
				t.Fatal(err)
			}
			stamp := time.Unix(0, rec.Time).UTC().Format("2006-01-02 15:04:05.999999999")
			if r.First == "" {
				r.First = stamp
			}
			r.Last = stamp
			records, bytes = records+1, bytes+len(data)
			time.Sleep(1_000_001 * time.Nanosecond) // fake time: each nanosecond counts
		}
		for _, sp := range all {
			if err := sp.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		count := json.Number(fmt.Sprint(records))
		r.Records, r.Numbers, r.Bytes = count, count, json.Number(fmt.Sprint(bytes))
		rows = append(rows, r)
		time.Sleep(7 * time.Hour)
	}
	return rows
}

// ships delivers a spool until the function that it returns is called, and then to the end.
func ships(t *testing.T, sp *spool.Spool, dest ship.Destination, codec string) (end func()) {
	s, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"s3": dest}, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		if err := errors.Join(s.Flush(ctx), s.Finalize(ctx, "s3")); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// attrs returns the attributes of a record: of one of two endpoints, or none.
func attrs(t *testing.T, n int) *segment.Attrs {
	if n%3 == 0 {
		return nil
	}
	a, err := segment.NewAttrs(map[string]string{"aws.vpce": fmt.Sprint("vpce-", n%3), "listener": `"quoted" \ 日本`})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// endpoint is a result row for one endpoint of one class.
type endpoint struct {
	Class, Endpoint string
	Records         json.Number
}

func payload(class string, n int, random *rand.Rand) []byte {
	data := fmt.Appendf(nil, "%s \"quoted\" back\\slash tab\t Grüße 日本 %d %s", class, n, strings.Repeat("x", random.IntN(2000)))
	switch n % 11 {
	case 3:
		data = append(data, 0xff, 0, 0x80) // not UTF-8
	case 5:
		data = []byte{} // an empty datagram
	case 7:
		data = append(data, '\n', 0x1f)
	}
	return data
}

// statement returns the guide's statement that begins with the given comment.
func statement(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/guide/query.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "```sql\n-- "+name+"\n")
	text, _, end := strings.Cut(text, "```")
	if !ok || !end {
		t.Fatalf("query.md has no statement for %s", name)
	}
	return text
}

// modules is where the engines' npm packages are installed, see .ci/run. Without them the test is skipped; in CI it fails.
func modules(t *testing.T, pkg string) (node, path string) {
	t.Helper()
	path = os.Getenv("PENSTOCK_NODE_MODULES")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil { // HOME is unset
			t.Skipf("%v: name the directory of %s in PENSTOCK_NODE_MODULES to run this test", err, pkg)
		}
		path = filepath.Join(cache, "penstock", "node_modules")
	}
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(path, filepath.FromSlash(pkg)))
	}
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%v: CI must install node and the npm package %s", err, pkg)
	default:
		t.Skipf("%v: npm install --prefix %s %s to run this test", err, filepath.Dir(path), pkg)
	}
	return node, path
}

// TestEngines: the guide's statements, run by the engines themselves over the objects as they were delivered, count every
// record once, with every byte and nanosecond, in the hour that its folder names, and find an object that is gone.
func TestEngines(t *testing.T) {
	for _, engine := range []struct{ name, pkg, script string }{
		{"DuckDB", "@duckdb/node-api", "duckdb.cjs"},
		{"ClickHouse", "chdb", "clickhouse.cjs"},
	} {
		t.Run(engine.name, func(t *testing.T) {
			node, path := modules(t, engine.pkg)
			dir := t.TempDir()
			want := deliver(t, dir)
			run := func(name string, rows any) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, node, filepath.Join("testdata", engine.script))
				cmd.Env = append(os.Environ(), "NODE_PATH="+path, "TZ=Pacific/Auckland") // answers must not depend on it
				cmd.Stdin = strings.NewReader(strings.ReplaceAll(statement(t, name), "/srv/ingest", filepath.ToSlash(dir)))
				var stderr strings.Builder
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, &stderr)
				}
				if err := json.Unmarshal(out, rows); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			var rows []row
			run(engine.name, &rows)
			compare(t, rows, want)

			var endpoints []endpoint
			run(engine.name+" attributes", &endpoints)
			if want := fmt.Sprint([]endpoint{
				{"vpn", "", "3200"},
				{"vpn", "vpce-1", "3200"},
				{"vpn", "vpce-2", "3200"},
				{"web", "", "1600"},
				{"web", "vpce-1", "1600"},
				{"web", "vpce-2", "1600"},
			}); fmt.Sprint(endpoints) != want {
				t.Errorf("%v, want %v", endpoints, want)
			}

			var gaps []gap
			run(engine.name+" gaps", &gaps)
			if len(gaps) > 0 {
				t.Errorf("nothing is missing, and it finds %v", gaps)
			}
			lost := remove(t, dir)
			run(engine.name+" gaps", &gaps)
			if len(gaps) != 1 || gaps[0] != lost {
				t.Errorf("%v is missing, and it finds %v", lost, gaps)
			}
		})
	}
}

// remove takes away the second object of one of the spools of class vpn, and returns what is missing then.
func remove(t *testing.T, dir string) gap {
	t.Helper()
	pattern := filepath.Join(dir, "class=vpn", "*", "*", fmt.Sprintf("*-%016x-%016x.ndjson.zst", perHour+1, 2*perHour))
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 2 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(filepath.Base(found[0]), "-")
	return gap{"vpn", id, json.Number(fmt.Sprint(perHour + 1)), json.Number(fmt.Sprint(2 * perHour))}
}

// decimals takes the zeros at the end of a fraction away, which one engine writes and the other does not.
func decimals(stamp string) string {
	if strings.Contains(stamp, ".") {
		stamp = strings.TrimSuffix(strings.TrimRight(stamp, "0"), ".")
	}
	return stamp
}

func compare(t *testing.T, got, want []row) {
	t.Helper()
	rows := map[[3]string]row{}
	for _, r := range got {
		r.First, r.Last = decimals(r.First), decimals(r.Last)
		rows[[3]string{r.Class, r.Day, r.Hour}] = r
	}
	if len(got) != len(want) || len(rows) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for _, w := range want {
		if g := rows[[3]string{w.Class, w.Day, w.Hour}]; g != w {
			t.Errorf("got  %+v\nwant %+v", g, w)
		}
	}
}

// TestAthena compares the table that the guide defines for Athena, which runs only at AWS, with delivered objects: its columns
// are the fields of a line, and its projected partitions name exactly the folders.
func TestAthena(t *testing.T) {
	dir := t.TempDir()
	want := deliver(t, dir)
	ddl := statement(t, "Athena")
	columns := between(t, ddl, "(", ")")
	fields := map[string]string{"seq": "bigint", "ts": "string", "src": "string", "attrs": "map<string;string>", "data": "string", "data_b64": "string", "spool": "string"}
	columns = strings.ReplaceAll(columns, "<string,string>", "<string;string>")
	for col := range strings.SplitSeq(columns, ",") {
		name, kind, _ := strings.Cut(strings.TrimSpace(col), " ")
		if fields[name] != kind {
			t.Errorf("column %s %s: a line has no such field", name, kind)
		}
		delete(fields, name)
	}
	if len(fields) > 0 {
		t.Errorf("no column for %v", fields)
	}
	lines(t, dir)

	partitions := between(t, ddl, "PARTITIONED BY (", ")")
	if partitions != "class string, dt string, hour string" {
		t.Errorf("partitions %q", partitions)
	}
	props := map[string]string{}
	for _, m := range regexp.MustCompile(`'([a-z.]+)'\s*=\s*'([^']*)'`).FindAllStringSubmatch(ddl, -1) {
		props[m[1]] = m[2]
	}
	// What Athena makes of these values is in "Supported types for partition projection" of its user guide.
	for name, value := range map[string]string{
		"projection.enabled": "true", "projection.class.type": "enum", "projection.dt.type": "date",
		"projection.dt.format": "yyyy-MM-dd", "projection.dt.interval.unit": "DAYS",
		"projection.hour.type": "integer", "projection.hour.range": "0,23", "projection.hour.digits": "2",
	} {
		if props[name] != value {
			t.Errorf("%s is %q, want %q", name, props[name], value)
		}
	}
	location := between(t, ddl, "LOCATION '", "'")
	template, ok := strings.CutPrefix(props["storage.location.template"], location)
	if !ok || !strings.HasSuffix(location, "/") {
		t.Fatalf("location %q, template %q", location, props["storage.location.template"])
	}
	for _, r := range want {
		folder := strings.NewReplacer("${class}", r.Class, "${dt}", r.Day, "${hour}", r.Hour).Replace(template)
		if found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(folder), "*")); err != nil || len(found) == 0 {
			t.Errorf("no object in %s, where Athena looks: %v", folder, err)
		}
	}
}

func between(t *testing.T, text, begin, end string) string {
	t.Helper()
	_, text, ok := strings.Cut(text, begin)
	text, _, ok2 := strings.Cut(text, end)
	if !ok || !ok2 {
		t.Fatalf("nothing between %q and %q", begin, end)
	}
	return text
}

// lines checks that the lines of the gzip objects have the fields that the columns are for, of their types.
func lines(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "class=web", "*", "*", "*.ndjson.gz"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no objects: %v", err)
	}
	out, err := exec.Command("gzip", append([]string{"-dc"}, found...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(out)) {
		var v struct {
			Seq     *int64  `json:"seq"`
			TS      *string `json:"ts"`
			Src     *string `json:"src"`
			Data    *string `json:"data"`
			DataB64 *string `json:"data_b64"`
			Spool   string  `json:"spool"`

			Attrs map[string]string `json:"attrs"`
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil || v.Seq == nil || v.TS == nil || v.Src == nil || len(v.Spool) != 26 || (v.Data == nil) == (v.DataB64 == nil) {
			t.Fatalf("%s: %v", line, err)
		}
		if len(v.Attrs) > 0 {
			seen["attrs"]++
		}
		if v.Data != nil {
			seen["data"]++
		} else {
			seen["data_b64"]++
		}
	}
	if len(seen) != 3 {
		t.Errorf("%v: the test is void", seen)
	}
}
