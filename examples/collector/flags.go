package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
)

// config is the command line, checked.
type config struct {
	key ed25519.PrivateKey // nil: manifests are not signed
	// keyWarning says that others can read it, "" if not.
	keyWarning string
	spoolDir   string
	listen     []classURL // in the order given
	dests      map[string]string
	forget     []string
	limits     map[string]*ship.Limiter // by DEST, and by DEST/CLASS
	classes    []string                 // sorted

	segmentBytes perClass[int64]
	segmentAge   perClass[time.Duration]
	sync         perClass[syncSetting]
	codec        perClass[codecSetting]
	format       perClass[string]
	maxBytes     perClass[int64] // 0: 90 % of the file system / classes

	adopt         []string
	adoptMaxBytes int64 // 0: 5 % of the file system
	adoptPatience time.Duration

	http         string
	lifecycle    string
	asgHook      string
	protectAbove int64
	grace        time.Duration
	preStop      string // tell the collector there, and exit
	quiesce      time.Duration
	drainTimeout time.Duration
	onTerm       drain.Intent
	report       string
	cpuProfile   string
}

type classURL struct{ class, url string }

type syncSetting struct {
	policy   spool.SyncPolicy
	interval time.Duration
}

type codecSetting struct {
	name  string
	level int
}

const usage = `collector receives records, keeps them on this host's disk, and delivers them to every destination.

  collector -spool DIR -listen CLASS=URL … -dest NAME=URL … [flags]
  collector give-up -spool DIR -class CLASS      acknowledges damage on this disk; give-up -h says more
  collector -version

SIZE is a number of bytes or one with KiB, MiB, GiB or TiB, TIME something like 90s, 10m or 1h30m.

`

// parseFlags reads the command line and lists every mistake at once.
func parseFlags(args []string, stderr io.Writer) (*config, error) {
	c := &config{
		dests:        map[string]string{},
		limits:       map[string]*ship.Limiter{},
		segmentBytes: newPerClass(int64(64<<20), parseSize),
		segmentAge:   newPerClass(60*time.Second, parsePositive),
		sync:         newPerClass(syncSetting{spool.SyncInterval, 10 * time.Millisecond}, parseSync),
		codec:        newPerClass(codecSetting{name: "zstd"}, parseCodec),
		format:       newPerClass("ndjson", parseFormat),
		maxBytes:     newPerClass(int64(0), parseSize),
	}
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	fs := flag.NewFlagSet("collector", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // mistakes are listed by the caller, all of them
	fs.StringVar(&c.spoolDir, "spool", "", "`DIR` for the spools, one sub-directory per class")
	fs.Var(multi{c.addListen(bad)}, "listen", "`CLASS=URL`: udp://ADDR, tcp://ADDR, tls://ADDR, relp://ADDR, relps://ADDR, unixgram:///PATH or systemd://NAME; repeatable")
	fs.Var(multi{c.addDest(bad)}, "dest", "`NAME=URL`: s3://, sftp:// or file://; repeatable, all of them are required")
	fs.Var(multi{func(s string) { c.forget = append(c.forget, s) }}, "forget", "`NAME` of a destination no longer given: give up what it is still owed; repeatable")
	fs.Var(multi{c.addLimit(bad)}, "limit", "`DEST=SIZE` or DEST/CLASS=SIZE of uploads per second, for all classes together or for one; lifted while draining; repeatable")
	classed := func(v flag.Value, name, usage string) {
		fs.Var(noted{v, name, &errs}, name, usage+"; also CLASS=value, repeatable")
	}
	classed(&c.segmentBytes, "segment-bytes", "`SIZE` at which a segment is sealed (default 64MiB)")
	classed(&c.segmentAge, "segment-age", "`AGE` at which a segment is sealed (default 60s)")
	classed(&c.sync, "sync", "`INTERVAL` of fdatasync (default 10ms), always, or none")
	classed(&c.codec, "codec", "`CODEC`[:LEVEL] zstd, gzip, lz4, s2 or none (default zstd)")
	classed(&c.format, "format", "`FORMAT` ndjson, lines or native (default ndjson)")
	classed(&c.maxBytes, "spool-max-bytes", "`SIZE` of the spool of a class (default 90 % of the file system that its directory is on, divided by the classes there)")
	fs.Var(noted{(*signer)(c), "sign", &errs}, "sign", "`KEYFILE` that manifests are signed with: `openssl genpkey -algorithm ed25519 -out KEYFILE`")
	fs.Var(multi{func(s string) { c.adopt = append(c.adopt, s) }}, "adopt",
		"`DIR` to deliver what other instances have left: a spool, or a directory with spools up to 3 levels below it, such as one of mounts, which is watched; repeatable")
	fs.Func("adopt-max-bytes", "`SIZE` of the disk space below -spool that one adoption may take (default 5 % of the file system)", func(s string) (err error) {
		c.adoptMaxBytes, err = parseSize(s)
		return err
	})
	c.adoptPatience = 15 * time.Minute
	fs.Var(noted{(*duration)(&c.adoptPatience), "adopt-patience", &errs}, "adopt-patience", "`TIME` after which another adopter that has written nothing is taken for dead (default 15m)")
	fs.StringVar(&c.http, "http", "", "`ADDR` of /livez, /readyz, /readyz/CLASS and /adoptions")
	c.drainTimeout, c.quiesce = 10*time.Minute, 130*time.Second
	fs.Var(noted{(*duration)(&c.drainTimeout), "drain-timeout", &errs}, "drain-timeout", "`TIME` a drain may take, from its trigger to its report (default 10m)")
	onTerm := fs.String("on-term", "", "`stop|drain`: what SIGTERM and SIGINT do (default stop; drain with -lifecycle ecs and kube)")
	fs.StringVar(&c.lifecycle, "lifecycle", "auto", "`auto|asg|ecs|kube|none`: who takes this instance away; auto: what the environment says")
	fs.Var(noted{(*duration)(&c.grace), "grace", &errs}, "grace", "`TIME` from SIGTERM to SIGKILL, which every end is cut to: terminationGracePeriodSeconds, stopTimeout (default 30s with -lifecycle ecs and kube, else as long as it takes)")
	fs.Var(noted{(*size)(&c.protectAbove), "protect-above", &errs}, "protect-above", "`SIZE` of a backlog with which the group (never by default) or the ECS service (from the first byte by default) shall take another instance")
	fs.StringVar(&c.preStop, "prestop", "", "only tell the collector whose -http is `ADDR` that its pod goes: for a preStop hook")
	fs.StringVar(&c.asgHook, "asg-hook", "", "`NAME` of the group's termination hook (default the only one it has)")
	fs.Var(noted{(*duration)(&c.quiesce), "quiesce", &errs}, "quiesce", "`TIME` of silence to wait for, at most 300s or this, before the sockets close at a scale-in; 0: none (default 130s)")
	fs.StringVar(&c.report, "report", "", "`FILE` of the final report (default DIR/report.json)")
	fs.StringVar(&c.cpuProfile, "cpu-profile", "", "`FILE` for a CPU profile of the whole run")
	for rest := args; ; rest = fs.Args() {
		err := fs.Parse(rest)
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fmt.Fprint(stderr, usage)
			fs.PrintDefaults()
			return nil, err
		}
		if err == nil {
			break
		}
		errs = append(errs, err) // and on with what is behind it
	}

	if c.preStop != "" {
		return c, errors.Join(errs...)
	}
	if fs.NArg() > 0 {
		bad("unexpected argument %q", fs.Arg(0))
	}
	if c.spoolDir == "" {
		bad("-spool is missing: name a directory on block storage that survives the process")
	}
	if len(c.listen) == 0 {
		bad("-listen is missing: for example -listen vpn=udp://:5140")
	}
	if len(c.dests) == 0 {
		bad("-dest is missing: for example -dest idc=file:///srv/idc")
	}
	for _, name := range c.forget {
		if _, ok := c.dests[name]; ok {
			bad("-forget %s: it is given with -dest; a destination is either served or forgotten", name)
		}
	}
	if c.drainTimeout <= 0 {
		bad("-drain-timeout %v: must be positive", c.drainTimeout)
	}
	c.platform(bad)
	if *onTerm == "" {
		*onTerm = string(drain.Stop)
		if c.lifecycle == "ecs" || c.lifecycle == "kube" {
			*onTerm = string(drain.Drain) // the disk may go with the container
		}
	}
	if c.adoptPatience <= 0 {
		bad("-adopt-patience %v: must be positive", c.adoptPatience)
	}
	for _, dir := range c.adopt {
		if rel, err := filepath.Rel(c.spoolDir, dir); err == nil && c.spoolDir != "" && filepath.IsLocal(rel) {
			bad("-adopt %s: lies in -spool %s, which is this collector's own", dir, c.spoolDir)
		}
	}
	if c.quiesce < 0 {
		bad("-quiesce %v: must not be negative", c.quiesce)
	}
	switch c.onTerm = drain.Intent(*onTerm); c.onTerm {
	case drain.Stop, drain.Drain:
	default:
		bad("-on-term %q: stop or drain", *onTerm)
	}
	if c.report == "" {
		c.report = filepath.Join(c.spoolDir, "report.json")
	}
	names := map[string]bool{}
	for _, l := range c.listen {
		names[l.class] = true
	}
	c.classes = slices.Sorted(maps.Keys(names))
	known := func(flag string, only []string) {
		for _, class := range only {
			if !names[class] {
				bad("-%s: class %q has no -listen", flag, class)
			}
		}
	}
	for _, limit := range slices.Sorted(maps.Keys(c.limits)) {
		dest, class, one := strings.Cut(limit, "/")
		if c.dests[dest] == "" {
			bad("-limit %s: there is no -dest %s", limit, dest)
		}
		if one && !names[class] {
			bad("-limit %s: class %q has no -listen", limit, class)
		}
	}
	known("segment-bytes", slices.Sorted(maps.Keys(c.segmentBytes.only)))
	known("segment-age", slices.Sorted(maps.Keys(c.segmentAge.only)))
	known("sync", slices.Sorted(maps.Keys(c.sync.only)))
	known("codec", slices.Sorted(maps.Keys(c.codec.only)))
	known("format", slices.Sorted(maps.Keys(c.format.only)))
	known("spool-max-bytes", slices.Sorted(maps.Keys(c.maxBytes.only)))
	errs = append(errs, c.checkURLs(context.Background()))
	return c, errors.Join(errs...)
}

// checkURLs opens what can be opened without reaching anything, to find the mistakes in it.
func (c *config) checkURLs(ctx context.Context) error {
	var errs []error
	for _, l := range c.listen {
		if _, err := ingest.Parse(l.url, &ingest.Options{Framings: framings}); err != nil {
			errs = append(errs, fmt.Errorf("-listen %s: %w", l.class, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.dests)) {
		d, err := open.Destination(ctx, c.dests[name], &open.Options{Logger: slog.New(slog.DiscardHandler)}) // opened again to be used
		if err != nil {
			errs = append(errs, fmt.Errorf("-dest %s: %w", name, err))
			continue
		}
		if cl, ok := d.(io.Closer); ok {
			errs = append(errs, cl.Close())
		}
	}
	return errors.Join(errs...)
}

func (c *config) addListen(bad func(string, ...any)) func(string) {
	return func(s string) {
		class, u, ok := strings.Cut(s, "=")
		switch {
		case !ok:
			bad("-listen %q: CLASS=URL, for example vpn=udp://:5140", s)
		case !classPattern.MatchString(class):
			bad("-listen %q: a class is 1 to 32 of a-z, 0-9 and _", s)
		case strings.HasPrefix(u, "systemd://") && slices.ContainsFunc(c.listen, func(o classURL) bool { return socketName("", o.url) == socketName("", u) }):
			// Any other address can be had only once.
			bad("-listen %q: the socket is given twice, and each datagram or connection would go to either", s)
		default:
			c.listen = append(c.listen, classURL{class, u})
		}
	}
}

func (c *config) addDest(bad func(string, ...any)) func(string) {
	return func(s string) {
		name, u, ok := strings.Cut(s, "=")
		switch {
		case !ok:
			bad("-dest %q: NAME=URL, for example idc=file:///srv/idc", s)
		case !destPattern.MatchString(name):
			bad("-dest %q: a name is 1 to 64 of a-z, 0-9, _ and -", s)
		case c.dests[name] != "":
			bad("-dest %s is given twice", name)
		default:
			c.dests[name] = u
		}
	}
}

func (c *config) addLimit(bad func(string, ...any)) func(string) {
	return func(s string) {
		of, size, ok := strings.Cut(s, "=")
		n, err := parseSize(size)
		switch {
		case !ok || err != nil:
			bad("-limit %q: DEST=SIZE or DEST/CLASS=SIZE per second, for example idc=20MiB", s)
		case c.limits[of] != nil:
			bad("-limit %s is given twice", of)
		default:
			c.limits[of] = ship.NewLimiter(n)
		}
	}
}
