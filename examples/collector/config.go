package main

import (
	"context"
	"crypto/ed25519"
	"errors"
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
)

// config is the command line, checked.
type config struct {
	listen  []classURL               // in the order given
	classes []string                 // sorted
	dests   map[string]string        // URL by name
	limits  map[string]*ship.Limiter // by DEST, and by DEST/CLASS
	forget  []string
	key     ed25519.PrivateKey // nil: manifests are not signed
	// keyWarning says that other users can read the key, "" if they cannot.
	keyWarning string
	codec      perClass[codecSetting]
	format     perClass[string]

	spoolDir     string
	segmentBytes perClass[int64]
	segmentAge   perClass[time.Duration]
	sync         perClass[syncSetting]
	maxBytes     perClass[int64] // 0: see shareDisk

	adopt         []string
	adoptMaxBytes int64 // 0: see adoptions.maxBytes
	adoptPatience time.Duration

	ending

	http       string
	cpuProfile string
}

// ending is what the command line says of the end of the process.
type ending struct {
	lifecycle    string // name of a platform
	onTerm       drain.Intent
	drainTimeout time.Duration
	grace        time.Duration
	quiesce      time.Duration
	asgHook      string
	protectAbove int64
	preStop      string // tell the collector there, and exit
	report       string
}

// classURL is the value of -listen.
type classURL struct{ class, url string }

// parseFlags reads the command line. Its error lists every mistake, or is flag.ErrHelp after it has printed the flags.
func parseFlags(args []string, stderr io.Writer) (*config, error) {
	c := &config{dests: map[string]string{}, limits: map[string]*ship.Limiter{}}
	f := newFlagSet("collector")
	c.define(f)
	if err := f.parse(args); err != nil {
		f.help(stderr, usage)
		return nil, err
	}
	if c.preStop != "" {
		return c, f.err()
	}
	c.checkWay(f)
	c.checkClasses(f)
	c.checkAdoption(f)
	c.checkEnd(f)
	c.checkURLs(f)
	return c, f.err()
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
		// Any other address can be bound only once.
		return errors.New("the socket is given twice, and each datagram or connection would go to either")
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
	n, err := parseSize(size)
	switch {
	case !ok || err != nil:
		return errors.New("use DEST=SIZE or DEST/CLASS=SIZE per second, for example idc=20MiB")
	case c.limits[of] != nil:
		return errors.New("the limit is given twice")
	}
	c.limits[of] = ship.NewLimiter(n)
	return nil
}

// readKey reads the file of -sign.
func (c *config) readKey(path string) (err error) {
	c.key, err = ship.ReadPrivateKey(path)
	c.keyWarning = ship.KeyExposed(path)
	return err
}

// setOnTerm reads the value of -on-term.
func (c *config) setOnTerm(s string) error {
	switch c.onTerm = drain.Intent(s); c.onTerm {
	case "", drain.Stop, drain.Drain:
		return nil
	}
	return errors.New("use stop or drain")
}

// checkWay checks that there is a way from a listener over the spool to a destination.
func (c *config) checkWay(f *flagSet) {
	if f.NArg() > 0 {
		f.bad("unexpected argument %q", f.Arg(0))
	}
	if c.spoolDir == "" {
		f.bad("-spool is missing: name a directory on block storage that survives the process")
	}
	if len(c.listen) == 0 {
		f.bad("-listen is missing: for example -listen vpn=udp://:5140")
	}
	if len(c.dests) == 0 {
		f.bad("-dest is missing: for example -dest idc=file:///srv/idc")
	}
	for _, name := range c.forget {
		if _, ok := c.dests[name]; ok {
			f.bad("-forget %s: -dest names it too; a destination is either served or forgotten", name)
		}
	}
}

// checkClasses lists the classes, and checks that every flag for one class names one of them.
func (c *config) checkClasses(f *flagSet) {
	names := map[string]bool{}
	for _, l := range c.listen {
		names[l.class] = true
	}
	c.classes = slices.Sorted(maps.Keys(names))
	for _, v := range f.classed {
		if !names[v.class] {
			f.bad("-%s: class %q has no -listen", v.flag, v.class)
		}
	}
	for _, limit := range slices.Sorted(maps.Keys(c.limits)) {
		dest, class, one := strings.Cut(limit, "/")
		if c.dests[dest] == "" {
			f.bad("-limit %s: there is no -dest %s", limit, dest)
		}
		if one && !names[class] {
			f.bad("-limit %s: class %q has no -listen", limit, class)
		}
	}
}

// checkAdoption checks the flags about what other instances left behind.
func (c *config) checkAdoption(f *flagSet) {
	if c.adoptPatience <= 0 {
		f.bad("-adopt-patience %v: must be positive", c.adoptPatience)
	}
	for _, dir := range c.adopt {
		if rel, err := filepath.Rel(c.spoolDir, dir); err == nil && c.spoolDir != "" && filepath.IsLocal(rel) {
			f.bad("-adopt %s: is below -spool %s, which is this collector's own", dir, c.spoolDir)
		}
	}
}

// checkEnd checks the flags about the end of the process, and fills in what follows from the platform.
func (c *config) checkEnd(f *flagSet) {
	if c.drainTimeout <= 0 {
		f.bad("-drain-timeout %v: must be positive", c.drainTimeout)
	}
	if c.grace < 0 {
		f.bad("-grace %v: must not be negative", c.grace)
	}
	if c.quiesce < 0 {
		f.bad("-quiesce %v: must not be negative", c.quiesce)
	}
	if c.report == "" {
		c.report = filepath.Join(c.spoolDir, "report.json")
	}
	c.choosePlatform(f)
}

// checkURLs parses every URL. It uses neither the network nor a socket.
func (c *config) checkURLs(f *flagSet) {
	for _, l := range c.listen {
		if _, err := ingest.Parse(l.url, &ingest.Options{Framings: framings}); err != nil {
			f.bad("-listen %s: %w", l.class, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.dests)) {
		d, err := open.Destination(context.Background(), c.dests[name], &open.Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = closeDestination(d) // newClass opens it again
		}
		if err != nil {
			f.bad("-dest %s: %w", name, err)
		}
	}
}

// closeDestination closes what has to be closed.
func closeDestination(d ship.Destination) error {
	if c, ok := d.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
