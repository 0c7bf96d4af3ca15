package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/udprelay"
)

const usage = `Every flag is also the variable PENSTOCK_NAME and a key of the YAML file that -config names: -first-port is PENSTOCK_FIRST_PORT and
first-port. The command line overrides the environment, the environment the file, and the file the default. In a
variable, white space separates the values of a list. TIME is something like 250ms, 90s or 10m.

Targets come from one place:
  file:PATH          one HOST:PORT a line, with an IP address; followed by "draining" if it is to get nothing new. Replace the file by
                     renaming another one, so that it is never read half written
  dns:NAME:PORT      all addresses of a name
  static:A:P,B:P     these
  asg:GROUP:PORT     the instances of an Auto Scaling group that are InService, at their private addresses
The place is read each -refresh. A list that cannot be read, is empty or has a mistake is not used: the last good one stays.
`

// settings holds the settings from the command line, the environment and the file.
type settings struct {
	set *cli.Set

	engineOptions udprelay.Options
	engine        string
	source        source
	refresh       time.Duration
	checks        checks
	http          string

	logLevel, logFormat string

	config, mode string
	listen       []string
	targets      string
	check        string
}

func command() *cli.Command {
	return &cli.Command{
		Name: "udprelay", Does: "spreads the datagrams of few senders evenly over many collectors",
		Synopsis: []string{"-listen ADDR -targets PLACE -check URL|off [flags]", "-listen ADDR -targets PLACE -mode generations [flags]"},
		Text:     usage, Flags: newSettings().set.FlagSet,
		Exit: []string{"0  ended in order", "1  failed", "2  usage"},
	}
}

func newSettings() *settings {
	s := &settings{set: cli.NewSet("udprelay"), engine: "auto", mode: "spray", refresh: 500 * time.Millisecond, logLevel: "info", logFormat: "text"}
	f, o := s.set, &s.engineOptions
	s.checks.every, s.checks.timeout = 250*time.Millisecond, 300*time.Millisecond
	f.Text(&s.config, "config", "read settings from this YAML `FILE`: each flag is a key there")
	f.List(&s.listen, "listen", "`ADDR` to take datagrams at, as HOST:PORT; :PORT means all addresses of the host; fd:NAME is a socket from systemd (engine user)")
	f.Text(&s.targets, "targets", "`PLACE` of the targets: file:PATH, dns:NAME:PORT, static:HOST:PORT,… or asg:GROUP:PORT")
	f.Duration(&s.refresh, "refresh", "read the targets each `TIME` (default 500ms)")
	f.Choice(&s.mode, "mode", "`spray|generations`: directly to the healthy targets in turn, or with many source ports to the load balancer that the targets are (default spray)", "spray", "generations")
	f.Choice(&s.engine, "engine", "`auto|nft|user`: the kernel forwards, or this process does (default auto)", "auto", "nft", "user")
	f.Text(&s.check, "check", "`URL` to ask each target for its health, with {host} for its address, such as http://{host}:8080/readyz; or off (required with -mode spray; default off with -mode generations)")
	f.Duration(&s.checks.every, "check-every", "`TIME` from one check to the next (default 250ms)")
	f.Duration(&s.checks.timeout, "check-timeout", "`TIME` a check may take (default 300ms)")
	s.number(&o.Ports.First, "first-port", "`PORT` at which the source ports begin (default 16384)")
	s.number(&o.Ports.Count, "ports", "`N` source ports a generation (default 24576)")
	s.number(&o.Ports.Generations, "generations", "`N` generations of source ports (default 2)")
	f.Duration(&o.Ports.Every, "rotate", "use the next generation after this `TIME` (default 150s)")
	f.Duration(&o.Ports.Forgets, "flow-timeout", "`TIME` after which the load balancer forgets a flow (default 120s)")
	f.Text(&o.Table, "table", "`NAME` of the engine nft's table (default penstock_relay)")
	f.BoolVar(&o.Leave, "leave", false, "keep the table, and forward on, when the process ends: for a restart")
	f.BoolVar(&o.NoHeader, "no-proxy", false, "put no PROXY header before datagrams (engine user): collectors then take the relay for the sender")
	s.number(&o.Sockets, "sockets", "`N` sockets per address (engine user; default 1)")
	f.Value("receive-buffer", "`SIZE` of each socket's receive buffer (engine user; default 64MiB)", func(v string) error {
		n, err := cli.ParseSize(v)
		o.ReceiveBuffer = int(min(n, 1<<31-1))
		return err
	})
	f.Text(&s.http, "http", "`ADDR` of /metrics, /readyz, /livez and /status.json")
	f.Choice(&s.logLevel, "log-level", "write log lines of this `LEVEL` and above: debug, info, warn or error (default info)", "debug", "info", "warn", "error")
	f.Choice(&s.logFormat, "log-format", "`FORMAT` of the log: text or json (default text)", "text", "json")
	return s
}

// number defines a flag for a positive number.
func (s *settings) number(to *int, name, usage string) {
	s.set.Value(name, usage, func(v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 {
			return errors.New("use a positive number")
		}
		*to = int(n)
		return nil
	})
}

// parse reads the settings, and returns all mistakes at once.
func parse(ctx context.Context, args, environ []string) (*settings, error) {
	s := newSettings()
	f := s.set
	if err := f.Load(args, environ, "config"); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		f.Stray(f.Arg(0))
	}
	if f.Unread() {
		return nil, f.Err() // the missing settings may be in the file
	}
	s.readListen()
	if s.mode == "generations" {
		s.engineOptions.Mode = udprelay.Generations
		if err := s.engineOptions.Ports.Check(); err != nil {
			f.Bad("ports", "", "%w", err)
		}
	} else if g := f.Given("mode"); len(g) == 0 || g[0].Value == s.mode { // otherwise it is already reported as a mistake
		for _, name := range []string{"first-port", "ports", "generations", "rotate", "flow-timeout"} {
			if len(f.Given(name)) > 0 {
				f.Bad(name, "", "this is for -mode generations")
			}
		}
	}
	s.readOptions()
	s.readChecks()
	if s.refresh < 50*time.Millisecond || s.refresh > time.Hour {
		f.Bad("refresh", "", "use 50ms to 1h")
	}
	if s.http != "" {
		if _, _, err := net.SplitHostPort(s.http); err != nil {
			f.Bad("http", "", "use HOST:PORT or :PORT")
		}
	}
	if len(f.Given("targets")) == 0 {
		f.Bad("targets", "", "it is missing: name the place of the targets")
	} else if err := s.readTargets(ctx); err != nil {
		f.Bad("targets", "", "%w", err)
	}
	return s, f.Err()
}

// readListen parses the addresses.
func (s *settings) readListen() {
	if len(s.listen) == 0 {
		s.set.Bad("listen", "", "it is missing: name at least one address")
	}
	fds := 0
	for _, text := range s.listen {
		if name, ok := strings.CutPrefix(text, "fd:"); ok {
			fds++
			if s.engine == "nft" {
				s.set.Bad("listen", text, "the engine nft receives from no socket")
			}
			s.engine = "user"
			s.inherit(text, name)
			continue
		}
		addrs := []string{text}
		if strings.HasPrefix(text, ":") {
			addrs = []string{"0.0.0.0" + text, "[::]" + text}
		}
		for _, a := range addrs {
			l, err := netip.ParseAddrPort(a)
			if err != nil || l.Port() == 0 {
				s.set.Bad("listen", text, "%q: use an IP address of this host and a port, :PORT, or fd:NAME", text)
				break
			}
			s.engineOptions.Listen = append(s.engineOptions.Listen, l)
		}
	}
	if fds > 0 && fds < len(s.listen) {
		s.set.Bad("listen", "", "either all are sockets from systemd, or none is")
	}
}

// readOptions checks the options in the same way as the engines, for all flags at once.
func (s *settings) readOptions() {
	o := s.engineOptions
	o.Mode, o.Table = udprelay.Spray, ""
	if len(o.Listen) > 0 {
		if err := o.Check(); err != nil {
			s.set.Bad("listen", "", "%w", err)
		}
	}
	o.Table, o.Files, o.Listen = s.engineOptions.Table, nil, []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), 1)}
	if err := o.Check(); err != nil {
		s.set.Bad("table", "", "%w", err)
	}
}

// inherit takes over inherited sockets.
func (s *settings) inherit(text, name string) {
	files, err := ingest.Inherited(name)
	if err != nil {
		s.set.Bad("listen", text, "%w", err)
		return
	}
	for _, file := range files {
		addr, err := addressOf(file)
		if err != nil {
			s.set.Bad("listen", text, "%w", err)
			continue
		}
		s.engineOptions.Files, s.engineOptions.Listen = append(s.engineOptions.Files, file), append(s.engineOptions.Listen, addr)
	}
}

func addressOf(file *os.File) (netip.AddrPort, error) {
	c, err := net.FilePacketConn(file)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, errors.New("it is no UDP socket")
	}
	addr := a.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), nil
}

// readChecks reads the settings for health checks.
func (s *settings) readChecks() {
	if s.check == "" && s.mode == "generations" {
		s.check = "off" // the load balancer checks its targets
	}
	for name, d := range map[string]time.Duration{"check-every": s.checks.every, "check-timeout": s.checks.timeout} {
		if d < 10*time.Millisecond || d > time.Minute {
			s.set.Bad(name, "", "use 10ms to 1m")
		}
	}
	switch s.check {
	case "":
		s.set.Bad("check", "", "it is missing: give the URL of the targets' health, such as http://{host}:8080/readyz, or off")
		return
	case "off":
		return
	}
	u, err := url.Parse(strings.ReplaceAll(s.check, "{host}", "192.0.2.1"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !strings.Contains(s.check, "//{host}") {
		is := "it is no URL of a target"
		if err == nil && u.Scheme != "" {
			is = fmt.Sprintf("it begins with %s:", u.Scheme)
		}
		s.set.Bad("check", "", "%s: use a URL such as http://{host}:8080/readyz", is) // without the value, which may contain a password
		return
	}
	s.checks.url = s.check
}

// readTargets makes the source of the targets, and reads it once to find mistakes now.
func (s *settings) readTargets(ctx context.Context) (err error) {
	if s.source, err = newSource(s.targets); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	targets, err := s.source.Targets(ctx)
	if err != nil && !errors.Is(err, errAway) {
		return err
	}
	var errs []error
	for _, t := range targets {
		if slices.Contains(s.engineOptions.Listen, t.Addr) {
			errs = append(errs, fmt.Errorf("%v is the relay itself", t.Addr))
		}
	}
	return errors.Join(errs...)
}
