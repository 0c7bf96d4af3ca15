package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/examples/loadgen/paged"
	"github.com/penstock-go/penstock/examples/loadgen/report"
	"github.com/penstock-go/penstock/spool/object"
)

// writeLines writes an object of a spool with lines of runs, as text.
func writeLines(t *testing.T, dir, class, spool string, first uint64, lines ...[]byte) {
	t.Helper()
	k := object.Key{Origin: object.Origin{Class: class, Spool: spool}, Hour: 490000, Epoch: 1, First: first, Last: first + uint64(len(lines)) - 1, Ext: ".log"}
	path := filepath.Join(dir, filepath.FromSlash(k.String()))
	var data []byte
	for _, l := range lines {
		data = append(append(data, l...), '\n')
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// linesOf makes lines of a run.
func linesOf(t *testing.T, run string, numbers ...uint64) (lines [][]byte) {
	t.Helper()
	g, err := fwlog.NewGenerator(run, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		lines = append(lines, g.Append(nil, 0, n, 200))
	}
	return lines
}

// upTo returns the numbers from a (included) to b (not included), except some.
func upTo(a, b uint64, without ...uint64) (numbers []uint64) {
	for n := a; n < b; n++ {
		skip := false
		for _, w := range without {
			skip = skip || n == w
		}
		if !skip {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// reportOf writes the report of a machine.
func reportOf(t *testing.T, run string, sent uint64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), run+".json")
	r := &report.Report{
		Version: report.Version, Run: run, Host: run, Started: time.Unix(1700000000, 0), Seconds: 10, Sent: sent,
		Samples: []report.Sample{{Seconds: 10, Sent: sent}},
	}
	if err := report.WriteJSON(path, r); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCheckFleet: the lines of two machines are in the objects of three spools at two destinations. Missing, duplicated,
// altered and foreign lines are counted for each run and each destination.
func TestCheckFleet(t *testing.T) {
	const a, b = "00112233445566778899aabbcc", "8899aabbccddeeff0011223344"
	good, bad := t.TempDir(), t.TempDir()
	for _, dir := range []string{good, bad} {
		writeLines(t, dir, "vpn", a, 1, linesOf(t, "m1", upTo(0, 700)...)...)
		writeLines(t, dir, "vpn", b, 1, linesOf(t, "m2", upTo(100, 500)...)...)
	}
	writeLines(t, good, "vpn", b, 401, linesOf(t, "m1", upTo(700, 1000)...)...)
	writeLines(t, bad, "vpn", b, 401, linesOf(t, "m1", upTo(699, 1000, 800, 801)...)...)
	altered := linesOf(t, "m2", 0)[0]
	altered[len(altered)-30] ^= 1
	writeLines(t, good, "vpn", a, 701, linesOf(t, "m2", upTo(0, 100)...)...)
	writeLines(t, bad, "vpn", a, 701, append(linesOf(t, "m2", upTo(1, 100)...), altered, []byte("of others"))...)
	writeLines(t, bad, "web", a, 1, linesOf(t, "m1", upTo(0, 9)...)...) // of another class

	dir := t.TempDir()
	args := []string{"-report", reportOf(t, "m1", 1000), "-report", reportOf(t, "m2", 500), "-class", "vpn", "-at", "file://" + good}
	out, err := call(t.Context(), checkCommand(), args...)
	var f report.Found
	if jerr := json.Unmarshal([]byte(out), &f); err != nil || jerr != nil || !f.OK() || f.Sent != 1500 || f.Found != 1500 || f.Objects != 4 || f.Spools != 2 {
		t.Errorf("%v, %v: %s", err, jerr, out)
	}
	_, err = call(t.Context(), checkCommand(), append(args, "-at", "file://"+bad, "-out", dir+"/out.json", "-page", dir+"/out.html", "-memory", "1MiB")...)
	if !errors.Is(err, errNotAll) {
		t.Fatal(err)
	}
	var c report.Check
	data, err := os.ReadFile(dir + "/out.json")
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil || c.OK || len(c.Found) != 2 || len(c.Reports) != 2 || !c.Found[0].OK() {
		t.Fatalf("%v: %s", err, data)
	}
	f = c.Found[1]
	m1, m2 := f.Runs["m1"], f.Runs["m2"]
	if *f.Missing != 3 || f.Duplicate != 1 || f.Altered != 1 || f.Foreign != 1 || f.Spools != 2 {
		t.Errorf("%+v", f)
	}
	if *m1.Missing != 2 || fmt.Sprint(m1.FirstMissing) != "[800 801]" || m1.Duplicate != 1 || *m2.Missing != 1 || m2.Altered != 1 {
		t.Errorf("%+v\n%+v", m1, m2)
	}
	if part := 800 * report.GapParts / 1000; m1.Gaps[part] != 2 {
		t.Errorf("%v: not 2 in part %d", m1.Gaps, part)
	}
	html, err := os.ReadFile(dir + "/out.html")
	for _, want := range []string{"not every line is there once", "Missing at file://", "prefers-color-scheme: dark"} {
		if err != nil || !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %q: %v", want, err)
		}
	}
}

// TestCheckRefused: mistakes are reported, in particular two machines with the same name.
func TestCheckRefused(t *testing.T) {
	m1 := reportOf(t, "m1", 10)
	empty := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(empty, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"two machines with one name": {"-report", m1, "-report", m1, "-at", "file:///x"},
		"need each other":            {"-run", "x", "-at", "file:///x"},
		"has version 0":              {"-report", empty, "-at", "file:///x"},
		"-memory":                    {"-report", m1, "-at", "file:///x", "-memory", "3"},
		"the flag is missing":        {"-report", m1},
		"give -report":               {"-at", "file:///x"},
		"lines: ":                    {"-run", "x", "-sent", fmt.Sprint(uint64(1) << 50), "-at", "file:///x"},
	} {
		if _, err := call(t.Context(), checkCommand(), args...); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestCheckLarge: a run of billions of lines is counted with the least memory, here with one line in each page of numbers,
// which is the worst case.
func TestCheckLarge(t *testing.T) {
	const sent, step, n = 4_000_000_000, 200_000, 2000
	dir, temp := t.TempDir(), t.TempDir()
	for from := uint64(0); from < n; from += n / 2 {
		var numbers []uint64
		for i := from; i < from+n/2; i++ {
			numbers = append(numbers, i*step%sent)
		}
		writeLines(t, dir, "vpn", "00112233445566778899aabbcc", from+1, linesOf(t, "big", numbers...)...)
	}
	out, err := call(t.Context(), checkCommand(), "-run", "big", "-sent", fmt.Sprint(uint64(sent)), "-at", "file://"+dir, "-memory", fmt.Sprint(paged.MinMemory), "-temp", temp)
	if want := fmt.Sprintf(`"missing":%d`, uint64(sent-n)); !errors.Is(err, errNotAll) || !strings.Contains(out, want) || !strings.Contains(out, `"duplicate":0`) {
		t.Errorf("%v: %s", err, out)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestGaps: every missing line is in one part.
func TestGaps(t *testing.T) {
	for _, sent := range []uint64{1, 7, 239, 240, 241, 1000, 1 << 40} {
		parts := make([]uint64, report.GapParts)
		gap(parts, sent, 0, sent)
		var sum uint64
		for _, p := range parts {
			sum += p
		}
		if sum != sent {
			t.Errorf("%d of %d lines are in parts", sum, sent)
		}
	}
}
