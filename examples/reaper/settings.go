package main

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
)

// settings are the flags.
type settings struct {
	config, fleet, orphans, mount, collector, http string
	at, pubkeys                                    []string
	apply, once                                    bool
	atOnce                                         int
	every, retry, patience, retention              time.Duration
	logLevel, logFormat                            string

	keys []ed25519.PublicKey
}

// newSettings returns the settings with their defaults, and their flags.
func newSettings() (*settings, *cli.Set) {
	s := &settings{
		orphans: "/var/lib/penstock/orphans", mount: "/run/penstock-mount.sock", collector: "http://127.0.0.1:8080", atOnce: 4,
		every: time.Minute, retry: 24 * time.Hour, patience: 12 * time.Hour, logLevel: "info", logFormat: "text",
	}
	f := cli.NewSet("reaper")
	f.Text(&s.config, "config", "`FILE` with settings: YAML whose keys are the names of these flags")
	f.Text(&s.fleet, "fleet", "`NAME` of the fleet: only volumes whose tag penstock:fleet is NAME are touched")
	f.List(&s.at, "at", "`URL` of a destination, with credentials that can read and list: "+open.Forms()+"; name all that the collector delivers to")
	f.List(&s.pubkeys, "pubkey", "`FILE` with the public key (PEM, ed25519) of a collector: every chain must be signed by one of the keys given")
	f.Text(&s.orphans, "orphans", "mount volumes in `DIR`, which the collector's -adopt names (default /var/lib/penstock/orphans)")
	f.Text(&s.mount, "mount", "`SOCKET` of the service that mounts (default /run/penstock-mount.sock)")
	f.Text(&s.collector, "collector", "`URL` of the status page of this host's collector (default http://127.0.0.1:8080)")
	f.Text(&s.http, "http", "`ADDR` of /metrics and /livez (default: none)")
	f.BoolVar(&s.apply, "apply", false, "do it: attach, mount, and delete after a proof; otherwise only say what would be done")
	f.BoolVar(&s.once, "once", false, "make one pass, and end")
	f.Value("at-once", "hold at most `N` volumes, 1 to 10 (default 4)", func(v string) error {
		_, err := fmt.Sscan(v, &s.atOnce)
		return err
	})
	f.Duration(&s.every, "every", "`TIME` from one pass to the next (default 1m)")
	f.Duration(&s.retry, "retry", "look again at a volume that was kept after this `TIME` (default 24h)")
	f.Duration(&s.patience, "patience", "let go of a volume whose adoption waits for this `TIME` (default 12h)")
	f.Duration(&s.retention, "retention", "objects whose newest record is older than this `TIME` may have been deleted at a destination (default: none may)")
	f.Choice(&s.logLevel, "log-level", "write log lines of this `LEVEL` and above: debug, info, warn or error (default info)", "debug", "info", "warn", "error")
	f.Choice(&s.logFormat, "log-format", "`FORMAT` of the log: text or json (default text)", "text", "json")
	return s, f
}

// check reports every mistake at once.
func (s *settings) check(f *cli.Set) {
	if f.NArg() > 0 {
		f.Stray(f.Arg(0))
	}
	if s.fleet == "" {
		f.Bad("fleet", "", "it is missing: name the fleet whose volumes these are")
	}
	if len(s.at) == 0 {
		f.Bad("at", "", "it is missing: name every destination")
	}
	if s.atOnce < 1 || s.atOnce > len(devices) {
		f.Bad("at-once", "", "%d volumes, 1 to %d are possible", s.atOnce, len(devices))
	}
	if s.every < time.Second {
		f.Bad("every", "", "%v is less than 1s", s.every)
	}
	if _, err := cli.PageURL(s.collector); err != nil {
		f.Bad("collector", "", "%w", err)
	}
	if _, _, err := net.SplitHostPort(s.http); s.http != "" && err != nil {
		f.Bad("http", "", "use HOST:PORT or :PORT")
	}
	s.collector = strings.TrimSuffix(s.collector, "/")
	for _, path := range s.pubkeys {
		key, err := ship.ReadPublicKey(path)
		if err != nil {
			f.Bad("pubkey", path, "%w", err)
		}
		s.keys = append(s.keys, key)
	}
}

func (s *settings) logger(w io.Writer) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(s.logLevel)) // it is one of the choices
	o := &slog.HandlerOptions{Level: l}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// command describes the program: its help, its manual page and the completion scripts are made from it.
func command() *cli.Command {
	_, flags := newSettings()
	return &cli.Command{
		Name: "reaper", Does: "empties the volumes that instances have left, and deletes those that are proven to be delivered",
		Synopsis: []string{"-fleet NAME -at URL [-at URL …] [-apply] [flags]"}, Flags: flags.FlagSet,
		Text: `It runs on every server, beside a collector whose -adopt names the directory of -orphans. It attaches volumes of the fleet that no
instance holds to its own instance, and mounts them read-only; the collector delivers what is on them. A volume is deleted after the
collector has said so and an audit of every destination has proven it. Otherwise it stays, with tags:

  penstock:state    adopting, kept, or delivered (a moment before it is deleted)
  penstock:reason   when, which instance, and why
  penstock:since    when a reaper first took it

A volume that is kept is looked at again after -retry, or as soon as the tags are removed. Without -apply nothing is changed. Each flag
is also a variable (PENSTOCK_AT_ONCE for -at-once) and a key of the file that -config names.`,
		Exit: []string{"0  it was told to end, or -once is done", "1  -once had an error", "2  the command line is wrong", "4  it cannot work here"},
	}
}
