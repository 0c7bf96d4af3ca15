package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// settings is the contents of a config, for comparisons.
func settings(c *config) string {
	return fmt.Sprintf("%v %v %v %v %v %x %v %v %v %v %v %v %v %v %v %v %+v %v %v %v %v", c.listen, c.classes, c.dests, c.limits, c.forget, c.key,
		c.codec, c.format, c.spoolDir, c.segmentBytes, c.segmentAge, c.sync, c.maxBytes, c.adopt, c.adoptMaxBytes, c.adoptPatience, c.ending,
		c.logLevel, c.logFormat, c.http, c.cpuProfile)
}

// given has a value for every flag that the environment and the file may have, as flags, as a variable, and as YAML.
func given(dir string) map[string]struct {
	flags []string
	yaml  string
} {
	type value = struct {
		flags []string
		yaml  string
	}
	one := func(v string) value { return value{[]string{v}, v} }
	return map[string]value{
		"listen":          {[]string{"vpn=udp://:5140?max=9000&rcvbuf=1MiB", "vpn=tcp://:5140"}, "{vpn: [{url: 'udp://:5140', max: 9000, rcvbuf: 1MiB}, 'tcp://:5140']}"},
		"dest":            {[]string{"a=file:///srv/a", "s3=s3://bucket/x?region=eu-west-1"}, "{a: file:///srv/a, s3: {url: 's3://bucket/x', region: eu-west-1}}"},
		"forget":          {[]string{"old", "older"}, "[old, older]"},
		"limit":           {[]string{"a=20MiB", "a/vpn=1MiB"}, "{a: 20MiB, a/vpn: 1MiB}"},
		"codec":           {[]string{"gzip:6", "vpn=lz4"}, "gzip:6"},
		"format":          {[]string{"lines", "vpn=native"}, "lines"},
		"sign":            one(filepath.Join(dir, "key.pem")),
		"spool":           one("/x/spool"),
		"segment-bytes":   {[]string{"32MiB", "vpn=16MiB"}, "32MiB"},
		"segment-age":     {[]string{"30s", "vpn=5s"}, "30s"},
		"sync":            {[]string{"always", "vpn=20ms"}, "always"},
		"spool-max-bytes": {[]string{"2GiB", "vpn=1GiB"}, "2GiB"},
		"adopt":           {[]string{"/mnt/a", "/mnt/b"}, "[/mnt/a, /mnt/b]"},
		"adopt-max-bytes": one("1GiB"),
		"adopt-patience":  one("20m"),
		"lifecycle":       one("asg"),
		"on-term":         one("drain"),
		"drain-timeout":   one("5m"),
		"grace":           one("6m"),
		"quiesce":         one("0"),
		"asg-hook":        one("hook"),
		"protect-above":   one("1GiB"),
		"report":          one("/x/report.json"),
		"http":            one(":8080"),
		"log-level":       one("warn"),
		"log-format":      one("json"),
		"cpu-profile":     one("/x/profile"),
	}
}

// TestThreeSources: each setting has the same effect as a flag, a variable and a key.
func TestThreeSources(t *testing.T) {
	nowhere(t)
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte(privateKey), 0o600); err != nil {
		t.Fatal(err)
	}
	values := given(dir)
	var args, env, top, classes []string
	_, set := newConfig("collector")
	set.VisitAll(func(f *flag.Flag) {
		v, ok := values[f.Name]
		if !ok {
			if f.Name != "config" && f.Name != "prestop" {
				t.Errorf("-%s is a new flag: give it a value here, and a place in the documentation", f.Name)
			}
			return
		}
		for _, x := range v.flags {
			args = append(args, "-"+f.Name+"="+x)
			if class, one, ok := strings.Cut(x, "="); ok && class == "vpn" && f.Name != "listen" {
				classes = append(classes, fmt.Sprintf("    %s: %s\n", f.Name, one))
			}
		}
		env = append(env, "PENSTOCK_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))+"="+strings.Join(v.flags, " "))
		top = append(top, f.Name+": "+v.yaml+"\n")
	})
	byFlag, err := parseFlags(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "collector.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(top, "")+"classes:\n  vpn:\n"+strings.Join(classes, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	byFile, err := parseFlags([]string{"-config", file}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if settings(byFile) != settings(byFlag) {
		t.Errorf("by file: %s\nby flag: %s", settings(byFile), settings(byFlag))
	}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	byEnv, err := parseFlags(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if settings(byEnv) != settings(byFlag) {
		t.Errorf("by variable: %s\nby flag: %s", settings(byEnv), settings(byFlag))
	}
}

// privateKey is a key for -sign.
const privateKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIB2x44Cm4VBb3XZrD6MlnUZ4KWfGmkFNhJ7n3wyb9Dmk
-----END PRIVATE KEY-----
`

// TestMistakesHaveAPlace: mistakes that are found only after everything has been read are also reported with their lines.
func TestMistakesHaveAPlace(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	text := `adopt: [/x/spool/below]
spool: /x/spool
http: 8080
dest:
  a: sftp://u:hunter2@host/dir
  b: file:///srv/b
forget: [b]
limit: {c: 1MiB}
classes:
  vpn: {listen: 'udp://:1?frmaing=x'}
  web: {codec: gzip}
drain-timeout: -1s
lifecycle: none
asg-hook: h
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := parseFlags([]string{"-config", file}, io.Discard)
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	have := strings.ReplaceAll(err.Error(), dir+"/", "")
	for _, want := range []string{
		"c.yaml:1: adopt: /x/spool/below is below",
		"c.yaml:3: http: \"8080\": use HOST:PORT",
		"c.yaml:5: dest.a: sftpship: ",
		"c.yaml:7: forget: c.yaml:6: dest.b names it too",
		`c.yaml:8: limit.c: there is no -dest c`,
		"c.yaml:10: classes.vpn.listen: ingest: ",
		`c.yaml:11: classes.web.codec: class "web" has no -listen`,
		"c.yaml:12: drain-timeout: -1s must be positive",
		"c.yaml:14: asg-hook: -lifecycle none asks no group",
	} {
		if !strings.Contains(have, want) {
			t.Errorf("%s\nlacks: %s", have, want)
		}
	}
	if strings.Contains(have, "hunter2") {
		t.Error("a password is shown")
	}
}

// TestPreStopIgnoresTheFile: a pod's preStop hook works even if the file has become invalid.
func TestPreStopIgnoresTheFile(t *testing.T) {
	t.Setenv("PENSTOCK_CONFIG", "/no/such/file")
	t.Setenv("PENSTOCK_GRACE", "soon")
	if c, err := parseFlags([]string{"-prestop", ":8080"}, io.Discard); err != nil || c.preStop != ":8080" {
		t.Error(err)
	}
}
