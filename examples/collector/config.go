package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
)

// config holds the checked settings from the command line, the environment and the file.
type config struct {
	source
	listen  []classURL        // in the order given
	classes []string          // sorted
	dests   map[string]string // URL by name; see destinations
	limits  map[string]int64  // by DEST, and by DEST/CLASS
	forget  []string
	key     ed25519.PrivateKey // nil: manifests are not signed
	// keyWarning says that other users can read the key, "" if they cannot.
	keyWarning string
	codec      cli.PerClass[codecSetting]
	format     cli.PerClass[string]

	spoolDir     string
	segmentBytes cli.PerClass[int64]
	segmentAge   cli.PerClass[time.Duration]
	sync         cli.PerClass[syncSetting]
	maxBytes     cli.PerClass[int64] // 0: see shareDisk

	adopt         []string
	adoptMaxBytes int64 // 0: see adoptions.maxBytes
	adoptPatience time.Duration

	ending
	logging

	http       string
	cpuProfile string
	live
}

// source is where a config comes from.
type source struct {
	set  *cli.Set
	args []string // the command line
	file string   // of -config
}

// ending holds the settings for the end of the process.
type ending struct {
	lifecycle    string // name of a platform
	onTerm       drain.Intent
	drainTimeout time.Duration
	grace        time.Duration
	quiesce      time.Duration
	asgHook      string
	protectAbove int64
	preStop      string // the address of the collector to tell that its pod is being deleted, before this process exits
	report       string
}

// classURL is the value of -listen.
type classURL struct{ class, url string }

// newConfig returns a config with its defaults, and the flags that change it.
func newConfig(name string) (*config, *cli.Set) {
	c, f := &config{dests: map[string]string{}, limits: map[string]int64{}}, cli.NewSet(name)
	c.set = f
	c.define(f)
	return c, f
}

// parseFlags reads the command line, the environment and the file. Its error lists every mistake, or is flag.ErrHelp if the
// flags were printed on request.
func parseFlags(args []string, stderr io.Writer) (*config, error) {
	c, f := newConfig("collector")
	c.args = args
	if err := f.Load(args, os.Environ(), "config"); err != nil {
		command().Help(stderr)
		return nil, err
	}
	if c.preStop != "" {
		// A pod's preStop hook runs with the environment of the service, and must work even if the file has become invalid.
		c, f = newConfig("collector")
		_ = f.Load(args, nil, "") // there is no -h
		return c, f.Err()
	}
	c.check(f)
	return c, f.Err()
}

// check finds mistakes that no single value shows, and derives settings from others.
func (c *config) check(f *cli.Set) {
	if f.Unread() {
		return
	}
	c.checkWay(f)
	c.checkClasses(f)
	c.checkAdoption(f)
	c.checkEnd(f)
	c.checkURLs(f)
}

// addListen reads a value of -listen.
func (c *config) addListen(s string) error {
	class, url, ok := strings.Cut(s, "=")
	switch {
	case !ok:
		return errors.New("use CLASS=URL, for example vpn=udp://:5140")
	case !classPattern.MatchString(class):
		return errors.New("a class is 1 to 32 of a-z, 0-9 and _")
	case strings.HasPrefix(url, "systemd://") && slices.ContainsFunc(c.listen, func(o classURL) bool { return socketName("", o.url) == socketName("", url) }):
		// Any other address can be bound only once, so binding it fails.
		return errors.New("the socket is given twice: only one listener would receive each datagram or connection")
	}
	c.listen = append(c.listen, classURL{class, url})
	return nil
}

// addDest reads a value of -dest.
func (c *config) addDest(s string) error {
	name, url, ok := strings.Cut(s, "=")
	switch {
	case !ok:
		return errors.New("use NAME=URL, for example idc=file:///srv/idc")
	case !destPattern.MatchString(name):
		return errors.New("a name is 1 to 64 of a-z, 0-9, _ and -")
	case c.dests[name] != "":
		return errors.New("the name is given twice")
	}
	c.dests[name] = url
	return nil
}

// addLimit reads a value of -limit.
func (c *config) addLimit(s string) error {
	of, size, ok := strings.Cut(s, "=")
	n, err := cli.ParseSize(size)
	switch {
	case !ok || err != nil:
		return errors.New("use DEST=SIZE or DEST/CLASS=SIZE per second, for example idc=20MiB")
	case c.limits[of] != 0:
		return errors.New("the limit is given twice")
	}
	c.limits[of] = n
	return nil
}

// readKey reads the file of -sign.
func (c *config) readKey(path string) (err error) {
	c.key, err = ship.ReadPrivateKey(path)
	c.keyWarning = ship.KeyExposed(path)
	return err
}

// setHTTP reads the value of -http.
func (c *config) setHTTP(s string) error {
	if _, _, err := net.SplitHostPort(s); err != nil {
		return errors.New("use HOST:PORT or :PORT, for example :8080")
	}
	c.http = s
	return nil
}

// setOnTerm reads the value of -on-term.
func (c *config) setOnTerm(s string) error {
	switch c.onTerm = drain.Intent(s); c.onTerm {
	case "", drain.Stop, drain.Drain:
		return nil
	}
	return errors.New("use stop or drain")
}

// checkWay checks that a listener, a spool and a destination are set.
func (c *config) checkWay(f *cli.Set) {
	if f.NArg() > 0 {
		f.Stray(f.Arg(0))
	}
	if c.spoolDir == "" {
		f.Bad("spool", "", "it is missing: name a directory on block storage that survives the process")
	}
	if len(c.listen) == 0 {
		f.Bad("listen", "", "it is missing: for example -listen vpn=udp://:5140")
	}
	if len(c.dests) == 0 {
		f.Bad("dest", "", "it is missing: for example -dest idc=file:///srv/idc")
	}
	for _, name := range c.forget {
		if _, ok := c.dests[name]; ok {
			f.Bad("forget", name, "%v names it too; a destination is either served or forgotten", f.Origin("dest", name))
		}
	}
}

// checkClasses lists the classes, and checks that every setting for one class names one of them.
func (c *config) checkClasses(f *cli.Set) {
	names := map[string]bool{}
	for _, l := range c.listen {
		names[l.class] = true
	}
	c.classes = slices.Sorted(maps.Keys(names))
	for _, g := range f.OfOneClass() {
		if !names[g.Item()] {
			f.BadAt(g.Origin, "class %q has no -listen", g.Item())
		}
	}
	for _, limit := range slices.Sorted(maps.Keys(c.limits)) {
		dest, class, one := strings.Cut(limit, "/")
		if c.dests[dest] == "" {
			f.Bad("limit", limit, "there is no -dest %s", dest)
		}
		if one && !names[class] {
			f.Bad("limit", limit, "class %q has no -listen", class)
		}
	}
}

// checkAdoption checks the settings for spools that other instances left behind.
func (c *config) checkAdoption(f *cli.Set) {
	if c.adoptPatience <= 0 {
		f.Bad("adopt-patience", "", "%v must be positive", c.adoptPatience)
	}
	for _, dir := range c.adopt {
		if rel, err := filepath.Rel(c.spoolDir, dir); err == nil && c.spoolDir != "" && filepath.IsLocal(rel) {
			f.Bad("adopt", dir, "%s is below -spool %s, which is this collector's own", dir, c.spoolDir)
		}
	}
}

// checkEnd checks the settings for the end of the process, and fills in those that depend on the platform.
func (c *config) checkEnd(f *cli.Set) {
	if c.drainTimeout <= 0 {
		f.Bad("drain-timeout", "", "%v must be positive", c.drainTimeout)
	}
	if c.grace < 0 {
		f.Bad("grace", "", "%v must not be negative", c.grace)
	}
	if c.quiesce < 0 {
		f.Bad("quiesce", "", "%v must not be negative", c.quiesce)
	}
	if c.report == "" {
		c.report = filepath.Join(c.spoolDir, "report.json")
	}
	c.choosePlatform(f)
}

// checkURLs parses every URL. It uses neither the network nor a socket.
func (c *config) checkURLs(f *cli.Set) {
	for _, l := range c.listen {
		if _, err := ingest.Parse(l.url, &ingest.Options{Framings: framings}); err != nil {
			f.Bad("listen", l.class+"="+l.url, "%w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.dests)) {
		d, err := open.Destination(context.Background(), c.dests[name], &open.Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = closeDestination(d) // newClass opens it again
		}
		if err != nil {
			f.Bad("dest", name, "%w", err)
		}
	}
}

// closeDestination closes a destination that can be closed.
func closeDestination(d ship.Destination) error {
	if c, ok := d.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
