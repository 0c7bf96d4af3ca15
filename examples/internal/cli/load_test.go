package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// settings are those of a small program with a flag of each shape.
type settings struct {
	config, spool, level string
	listen, dest         []string
	adopt                []string
	codec                PerClass[string]
	most                 int64
	grace                time.Duration
	offline              bool
}

func newSettings() (*settings, *Set) {
	c, s := &settings{codec: PerClass[string]{All: "zstd"}}, NewSet("prog")
	s.Text(&c.config, "config", "`FILE` of settings")
	s.Text(&c.spool, "spool", "`DIR` for the spools")
	s.Choice(&c.level, "log-level", "`LEVEL`", "info", "debug")
	s.URLs("listen", "`CLASS=URL` to receive at", func(v string) error {
		if class, _, _ := strings.Cut(v, "="); class != strings.ToLower(class) {
			return errors.New("a class has small letters")
		}
		c.listen = append(c.listen, v)
		return nil
	})
	s.OfClasses("listen")
	s.URLs("dest", "`NAME=URL` of a destination", func(v string) error { c.dest = append(c.dest, v); return nil })
	s.List(&c.adopt, "adopt", "`DIR` to adopt from")
	Classed(s, &c.codec, "codec", "`CODEC`", func(v string) (string, error) {
		if v != "zstd" && v != "gzip" {
			return "", errors.New("use zstd or gzip")
		}
		return v, nil
	})
	s.Size(&c.most, "max-bytes", "`SIZE`")
	s.Duration(&c.grace, "grace", "`TIME` (default 10s)")
	s.BoolVar(&c.offline, "offline", false, "no network")
	return c, s
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load reads a file together with a command line and an environment.
func load(t *testing.T, text string, environ []string, args ...string) (*settings, *Set) {
	t.Helper()
	c, s := newSettings()
	if text != "" {
		environ = append(environ, "PENSTOCK_CONFIG="+write(t, text))
	}
	if err := s.Load(args, environ, "config"); err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestShapes(t *testing.T) {
	c, s := load(t, `
spool: /var/spool/penstock
log-level: debug
max-bytes: 64MiB
grace: 90s
offline: true
adopt: [/mnt/a, /mnt/b c]
codec: gzip
listen:
  vpn: [udp://:5140, tcp://:5140]
classes:
  web:
    codec: zstd
    listen:
      url: tls://:6514?framing=octet
      cert: /etc/x y.pem
      proxy_from: [10.0.0.0/8, fd00::/8]
dest:
  s3:
    url: s3://logs/ingest
    tags: {team: a&b, env: prod}
  no: file:///srv/no
`, nil)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ have, want any }{
		{c.spool, "/var/spool/penstock"},
		{c.level, "debug"},
		{c.most, int64(64 << 20)},
		{c.grace, 90 * time.Second},
		{c.offline, true},
		{c.adopt, []string{"/mnt/a", "/mnt/b c"}},
		{c.codec.Of("vpn") + c.codec.Of("web"), "gzipzstd"},
		{c.listen, []string{
			"vpn=udp://:5140", "vpn=tcp://:5140",
			"web=tls://:6514?framing=octet&cert=%2Fetc%2Fx+y.pem&proxy_from=10.0.0.0%2F8%2Cfd00%3A%3A%2F8",
		}},
		{c.dest, []string{"s3=s3://logs/ingest?tags=env%3Dprod%26team%3Da%2526b", "no=file:///srv/no"}},
	} {
		if fmt.Sprint(x.have) != fmt.Sprint(x.want) {
			t.Errorf("%v, want %v", x.have, x.want)
		}
	}
}

// TestOrder: the command line overrides the environment, the environment the file, and the file the default. A list or mapping
// replaces the others as a whole.
func TestOrder(t *testing.T) {
	file := "spool: file\nmax-bytes: 1\nadopt: [file1, file2]\nlisten: {a: file}\ncodec: gzip\nclasses: {web: {codec: gzip}}\n"
	env := []string{"PENSTOCK_SPOOL=env", "PENSTOCK_MAX_BYTES=2", "PENSTOCK_ADOPT=env1 env2", "PENSTOCK_LOG_LEVEL=debug", "OTHER=1"}
	c, s := load(t, file, env, "-spool", "flag", "-codec", "vpn=gzip")
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	have := fmt.Sprint(c.spool, c.most, c.adopt, c.listen, c.level, c.codec, c.grace)
	if want := "flag2[env1 env2][a=file]debug{zstd map[vpn:gzip]}0s"; strings.ReplaceAll(have, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%s, want %s", have, want)
	}
	if len(s.Warnings()) > 0 {
		t.Error(s.Warnings())
	}
}

// TestMistakes: every mistake is named with its place, all of them at once.
func TestMistakes(t *testing.T) {
	_, s := load(t, `spool: [a, b]
sppol: /x
max_bytes: 1
log-level: loud
codec: {web: gzip}
classes:
  web:
    codec: brotli
    spool: /y
    lisen: udp://:1
dest:
  idc: sftp://u:hunter2@host/dir
  idc: file:///x
  s3: {bucket: x}
listen: udp://u:hunter2@:1
grace:
config: other.yaml
Web: 1
`, []string{"PENSTOCK_GRACE=soon", "PENSTOCK_SPOOOL=/z", "PENSTOCK_SERVICE_HOST=10.0.0.1"}, "-listen", "WEB=udp://u:hunter2@:2", "-max-byte=3")
	err := s.Err()
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	want := []string{
		"-listen WEB: a class has small letters",
		"-max-byte: there is no such flag; did you mean max-bytes?",
		`PENSTOCK_GRACE: "soon": use a time such as 90s or 10m`,
		"prog.yaml:1: spool: expected one value, found a list",
		"prog.yaml:2: sppol: there is no such key; did you mean spool?",
		"prog.yaml:3: max_bytes: there is no such key; did you mean max-bytes?",
		`prog.yaml:4: log-level: "loud": use info or debug`,
		"prog.yaml:5: codec: this is the value for all classes; the one for a class is below classes: CLASS: codec",
		`prog.yaml:8: classes.web.codec: "web=brotli": use zstd or gzip`,
		"prog.yaml:9: classes.web.spool: this holds for the whole process and not for one class: write it without indentation, outside of classes",
		"prog.yaml:10: classes.web.lisen: there is no such key; did you mean listen?",
		"prog.yaml:13: dest.idc: the key is also in line 12",
		"prog.yaml:14: dest.s3: the key url is missing: it has the URL, and the other keys are its parameters",
		"prog.yaml:15: listen: expected a mapping (NAME: value), found one value",
		"prog.yaml:16: grace: the key has no value",
		"prog.yaml:17: config: this is for the command line only",
		"prog.yaml:18: Web: there is no such key",
	}
	var have []string
	for _, e := range s.Mistakes() {
		line := e.Error()
		if i := strings.Index(line, "prog.yaml"); i > 0 {
			line = line[i:]
		}
		have = append(have, line)
	}
	if !slices.Equal(have, want) {
		t.Errorf("the mistakes are\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password is shown: %v", err)
	}
	if w := s.Warnings(); len(w) != 1 || w[0] != "PENSTOCK_SPOOOL: no flag has this variable; it is ignored; did you mean PENSTOCK_SPOOL?" {
		t.Errorf("%q", w)
	}
}

// TestBadSyntax: the arguments after one that is no flag are read, and its value is not shown.
func TestBadSyntax(t *testing.T) {
	c, s := load(t, "", nil, "---spool=u:hunter2@x", "-=hunter2", "--=x", "-spool", "/x", "----")
	want := []string{
		"---spool: not a flag: write -NAME or -NAME=VALUE", "-: not a flag: write -NAME or -NAME=VALUE",
		"--: not a flag: write -NAME or -NAME=VALUE", "----: not a flag: write -NAME or -NAME=VALUE",
	}
	var have []string
	for _, e := range s.Mistakes() {
		have = append(have, e.Error())
	}
	if !slices.Equal(have, want) || c.spool != "/x" {
		t.Errorf("spool %q, %q", c.spool, have)
	}
}

// TestNotYAML: invalid YAML is reported with its line.
func TestNotYAML(t *testing.T) {
	for text, want := range map[string]string{
		"spool: /x\n\tgrace: 1s\n":     "prog.yaml:2: found a tab character that violates indentation",
		"a: b\n---\nspool: /x\n":       "prog.yaml:2: a second document begins here (---); only one is read",
		"- a\n":                        "prog.yaml:1: expected a mapping (NAME: value), found a list",
		"spool: &x [*x]\n":             "prog.yaml:1: spool: expected one value, found a list",
		"dest: {idc: &x [*x]}\n":       "prog.yaml:1: dest.idc: expected one value, found a list",
		"dest: &x {idc: *x}\n":         "prog.yaml:1: dest.idc.idc",
		"spool: /x\nspool: /y\n":       "prog.yaml:2: spool: the key is also in line 1",
		"? [a]\n: b\n":                 "prog.yaml:1: a list cannot be a key",
		"spool: /x\nlisten: {a: \"b\n": "prog.yaml:2: ",
	} {
		_, s := load(t, text, nil)
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{"\n", "# nothing\n", "---\n"} {
		if _, s := load(t, text, nil); s.Err() != nil {
			t.Errorf("%q: %v", text, s.Err())
		}
	}
}

// TestFileMissing: the error names the setting that names the file.
func TestFileMissing(t *testing.T) {
	_, s := newSettings()
	if err := s.Load([]string{"-config", "/no/such/file"}, nil, "config"); err != nil || s.Err() == nil || !strings.HasPrefix(s.Err().Error(), "-config: open /no/such/file: ") {
		t.Error(err, s.Err())
	}
	if err := s.Load([]string{"-h"}, nil, ""); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
}

// TestChanged: order and place of values do not matter.
func TestChanged(t *testing.T) {
	_, before := load(t, "spool: /x\nlisten: {a: 1, b: 2}\n", nil, "-offline")
	_, after := load(t, "listen: {b: 2, a: 1}\nmax-bytes: 3\n", []string{"PENSTOCK_SPOOL=/x"})
	if c := after.Changed(before); !slices.Equal(c, []string{"config", "max-bytes", "offline"}) {
		t.Error(c)
	}
}

// TestTable: each flag has a row, with its variable or the statement that there is none.
func TestTable(t *testing.T) {
	_, s := newSettings()
	s.FlagOnly("offline")
	s.Reloads("at once", "log-level")
	for _, want := range []string{
		"| `max-bytes` | `PENSTOCK_MAX_BYTES` | SIZE | SIZE | takes a new process |\n",
		"| `log-level` | `PENSTOCK_LOG_LEVEL` | LEVEL | LEVEL | at once |\n",
		"| `offline` | flag only |  | no network | - |\n",
	} {
		if !strings.Contains(s.Table(), want) {
			t.Errorf("%s\nlacks %s", s.Table(), want)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("spool: /x\nlisten: {a: [b, {url: c, d: e}]}\nclasses: {a: {codec: zstd}}\n")
	f.Add("a: &x [*x]\n<<: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, s := newSettings()
		s.readFile("x.yaml", []byte(text))
		_ = s.Err()
	})
}
