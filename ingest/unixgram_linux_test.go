package ingest

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestUnixAccess: a unix socket has the mode, owner and group that its URL asks for.
func TestUnixAccess(t *testing.T) {
	gid := os.Getgid()
	owner := os.Getuid()
	if owner == 0 {
		owner, gid = 65534, 65534 // as root any will do
	}
	for query, want := range map[string]string{
		"":                                     "",
		"mode=0666":                            fmt.Sprintf("0666 %d %d", os.Getuid(), os.Getgid()),
		"mode=600":                             fmt.Sprintf("0600 %d %d", os.Getuid(), os.Getgid()),
		"mode=0660&group=" + strconv.Itoa(gid): fmt.Sprintf("0660 %d %d", os.Getuid(), gid),
		"owner=" + strconv.Itoa(owner):         fmt.Sprintf("0660 %d %d", owner, os.Getgid()),
		"mode=0222&owner=" + strconv.Itoa(owner) + "&group=" + strconv.Itoa(gid) + "&max=1000": fmt.Sprintf("0222 %d %d", owner, gid),
	} {
		t.Run("with "+query, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			var log bytes.Buffer
			l, err := Listen("unixgram://"+path+"?"+query, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			fi, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			st := fi.Sys().(*syscall.Stat_t)
			if got := fmt.Sprintf("%04o %d %d", fi.Mode().Perm(), st.Uid, st.Gid); want != "" && got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if warned := strings.Contains(log.String(), "only this process's own user"); warned != (want == "" && fi.Mode().Perm()&0o022 == 0) {
				t.Errorf("mode %v: %s", fi.Mode(), &log)
			}
		})
	}
}

// TestUnixAccessBefore: no process can send before the socket has its mode: the file is created with mode 0.
func TestUnixAccessBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	before := os.FileMode(0o777)
	o := (&UDPOptions{Network: "unixgram", Mode: 0o666}).withDefaults()
	applied = func(path string) {
		if fi, err := os.Lstat(path); err == nil {
			before = fi.Mode().Perm()
		}
	}
	t.Cleanup(func() { applied = func(string) {} })
	l, err := ListenUDP(path, &o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if before != 0 {
		t.Errorf("it could be reached with mode %04o", before)
	}
}

// TestUnixAccessBad: mistakes are found before anything is bound.
func TestUnixAccessBad(t *testing.T) {
	for query, want := range map[string]string{
		"unixgram:///s?mode=0999":                "octal",
		"unixgram:///s?mode=04755":               "octal",
		"unixgram:///s?mode=0":                   "octal",
		"unixgram:///s?owner=nobody-has-this":    "nobody-has-this",
		"unixgram:///s?group=nobody-has-this":    "nobody-has-this",
		"unixgram:///s?group=":                   "a name or a number",
		"udp://127.0.0.1:0?mode=0666":            "not known",
		"tcp://127.0.0.1:0?owner=0&framing=auto": "not known",
	} {
		if _, err := Parse(query, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", query, err)
		}
	}
}
