package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Options are the defaults of Listen; parameters of the URL take precedence.
type Options struct {
	UDP UDPOptions
	TCP TCPOptions
	// Framings are further framings by their names in URLs: the program's own, and those of packages such as ingest/relp.
	Framings map[string]Framing
	// Files are bound sockets to take over instead of those that the URL would bind or find. OwnFiles means that no other
	// process has them. See UDPOptions, TCPOptions and Inheritance.Apply.
	Files    []*os.File
	OwnFiles bool
	// Hooks are used if UDP or TCP has none.
	Hooks []Hook
	// Logger is used if UDP or TCP has none.
	Logger *slog.Logger
}

// Listen opens the listener that a URL describes:
//
//	udp://ADDR?sockets=N&gro=on|off&rcvbuf=BYTES&max=BYTES&rate=PPS&proxy=v2&trust=CIDR,CIDR&attrs=conn|off
//	tcp://ADDR?framing=auto|newline|octet|len16|len32&max=BYTES&proxy=on&trust=CIDR,CIDR&attrs=conn|off
//	tls://ADDR?cert=FILE&key=FILE&client_ca=FILE    and the parameters of tcp
//	NAME://ADDR and NAMEs://ADDR    tcp and tls with framing=NAME, one of Options.Framings, and window=N if it acknowledges
//	unixgram:///PATH?mode=OCTAL&owner=NAME&group=NAME&rcvbuf=BYTES&max=BYTES
//	systemd://NAME    an inherited socket, with the parameters of udp or tcp: see Inherited
//
// proxy and trust together set ProxyFrom; each requires the other. A CIDR may be a single address. attrs=conn gives the
// records the attributes of their connection: see ConnAttrs. ADDR is HOST:PORT or :PORT. BYTES may end in KiB, MiB or GiB.
// The error names every mistake in the URL.
func Listen(rawURL string, o *Options) (Listener, error) {
	open, err := Parse(rawURL, o)
	if err != nil {
		return nil, err
	}
	return open()
}

// Parse is the first half of Listen: it checks the URL and returns a function that opens the listener. So a program can
// refuse mistakes on its command line before it opens any socket. For the systemd URL of a successor (see HandOver), that
// function does the check, when the sockets have been passed on.
func Parse(rawURL string, o *Options) (open func() (Listener, error), err error) {
	if o == nil {
		o = &Options{}
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		if strings.Contains(rawURL, "@") {
			// The error of url.Parse repeats the URL or a part of it, either of which may contain a password by mistake.
			err = errors.New("this is no URL: want SCHEME://ADDR, for example udp://:514, without a user")
		}
		return nil, fmt.Errorf("ingest: %w", err)
	}
	// Every parameter is read before the first mistake is reported, and removed when it is read: those that remain are
	// unknown.
	p := newParams(u)
	p.files, p.own = o.Files, o.OwnFiles
	scheme := u.Scheme
	if scheme == "systemd" && o.Files == nil && succeeding() {
		return func() (Listener, error) { // its kind is known when the predecessor has passed it on
			return nil, fmt.Errorf("ingest: %q: its sockets come with the hand-over: call Listen after Inheritance.Apply", u.Redacted())
		}, nil
	}
	if scheme == "systemd" {
		scheme = p.inherited()
	}
	framing, isTLS := o.scheme(scheme)
	switch scheme {
	case "udp", "unixgram":
		open = p.udp(o)
	case "tcp", "tls":
		open = p.tcp(o, nil, scheme == "tls")
	case "":
		return nil, fmt.Errorf("ingest: %q: want SCHEME://ADDR, for example udp://:514", shown(u))
	case "unknown": // p has the mistake
	default:
		if framing == nil {
			return nil, fmt.Errorf("ingest: %q: scheme %q is not known: want one of %s; others have to be in Options.Framings", shown(u), u.Scheme, strings.Join(Schemes(o.Framings), ", "))
		}
		open = p.tcp(o, framing, isTLS)
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return open, nil
}

// shown returns a URL for messages, without parts that may be a password.
func shown(u *url.URL) string {
	if strings.Contains(u.Opaque, "@") {
		return u.Scheme + ":…"
	}
	return u.Redacted()
}

// udp reads the parameters of a datagram listener.
func (p *params) udp(o *Options) func() (Listener, error) {
	c := o.UDP
	setDefault(&c.Logger, o.Logger)
	if c.Hooks == nil {
		c.Hooks = o.Hooks
	}
	addr := p.url.Host
	if p.files != nil {
		c.Files, c.OwnFiles = p.files, p.own
	}
	switch p.url.Scheme {
	case "unixgram":
		c.Network, addr = "unixgram", p.path()
		p.choice("mode", func(v string) bool {
			n, err := strconv.ParseUint(v, 8, 32)
			c.Mode = os.FileMode(n)
			return err == nil && n > 0 && n <= 0o777
		}, "permission bits in octal, for example 0666")
		p.text("owner", &c.Owner)
		p.text("group", &c.Group)
	case "udp":
		p.addr()
		p.number("sockets", &c.Sockets, 1)
	}
	if p.url.Scheme != "unixgram" {
		p.number("rate", &c.ExpectedRate, 0)
		p.choice("gro", func(v string) bool { c.GRO = v == "on"; return v == "on" || v == "off" }, "on or off")
	}
	p.proxy("v2", &c.ProxyFrom)
	p.attrs(&c.Attributes)
	p.bytes("rcvbuf", &c.ReceiveBuffer)
	p.bytes("max", &c.MaxRecord)
	p.invalid(func() error { d := c.withDefaults(); return d.validate() })
	return func() (Listener, error) { return check(ListenUDP(addr, &c)) }
}

// scheme returns the framing that a scheme is named after, or nil.
func (o *Options) scheme(s string) (f Framing, isTLS bool) {
	if f := o.Framings[s]; f != nil {
		return f, false
	}
	name, isTLS := strings.CutSuffix(s, "s")
	return o.Framings[name], isTLS
}

// Schemes lists the schemes of the URLs that Parse accepts, with those of Options.Framings.
func Schemes(framings map[string]Framing) []string {
	all := []string{"udp", "tcp", "tls", "unixgram", "systemd"}
	for _, name := range slices.Sorted(maps.Keys(framings)) {
		all = append(all, name, name+"s")
	}
	return all
}

// tcp reads the parameters of a stream listener. framing is not nil if the scheme names it.
func (p *params) tcp(o *Options, framing Framing, isTLS bool) func() (Listener, error) {
	c := o.TCP
	setDefault(&c.Logger, o.Logger)
	if c.Hooks == nil {
		c.Hooks = o.Hooks
	}
	if p.files != nil {
		c.Files, c.OwnFiles = p.files, p.own
	}
	if p.url.Scheme != "systemd" {
		p.addr()
	}
	if isTLS {
		p.tls(&c)
	}
	if framing != nil {
		c.Framing = framing
	} else {
		p.framing(o, &c)
	}
	d := c.withDefaults()
	if acks, _ := acknowledges(d.Framing, d.MaxRecord); acks {
		p.number("window", &c.Window, 1)
	}
	p.bytes("max", &c.MaxRecord)
	p.proxy("on", &c.ProxyFrom)
	p.attrs(&c.Attributes)
	p.invalid(func() error { d := c.withDefaults(); return d.validate() })
	return func() (Listener, error) { return check(ListenTCP(p.url.Host, &c)) }
}

// framing reads the parameter framing.
func (p *params) framing(o *Options, c *TCPOptions) {
	want := append(slices.Sorted(maps.Keys(byName)), slices.Sorted(maps.Keys(o.Framings))...)
	p.choice("framing", func(v string) (ok bool) {
		if c.Framing, ok = byName[v]; !ok {
			c.Framing, ok = o.Framings[v]
		}
		return ok
	}, "one of "+strings.Join(want, ", "))
}

// byName are the framings that a URL can name without Options.Framings. Fixed and a program's own framings need
// Options.Framings or TCPOptions.
var byName = map[string]Framing{"auto": Auto, "newline": Newline, "octet": OctetCounting, "len16": Len16, "len32": Len32}

// check prevents a nil pointer from becoming a non-nil interface.
func check[T Listener](l T, err error) (Listener, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

// params reads the parts of a URL and collects the mistakes in them.
type params struct {
	url    *url.URL
	values url.Values // those not read yet
	files  []*os.File // inherited
	own    bool       // files belong to this process alone
	errs   []error
}

func newParams(u *url.URL) *params {
	p := &params{url: u}
	var err error
	if p.values, err = url.ParseQuery(u.RawQuery); err != nil {
		p.bad("%v", err)
	}
	if u.User != nil || u.Fragment != "" {
		p.bad("a user or fragment has no meaning here")
	}
	return p
}

func (p *params) bad(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// addr checks a network address.
func (p *params) addr() {
	if p.url.Port() == "" {
		p.bad("%q has no port: want HOST:PORT or :PORT", p.url.Host)
	}
	if p.url.Path != "" && p.url.Path != "/" {
		p.bad("path %q has no meaning here", p.url.Path)
	}
}

// inherited finds the sockets of a systemd URL and returns the scheme for such sockets.
func (p *params) inherited() (scheme string) {
	stream := false
	var err error
	if p.files == nil {
		p.files, err = Inherited(p.url.Host)
	}
	if err == nil {
		stream, err = isStream(p.files[0])
	}
	switch {
	case err != nil:
		p.bad("%w", err)
		clear(p.values) // whether they are valid depends on the kind of socket
		return "unknown"
	case stream:
		return "tcp"
	}
	return "udp"
}

// tls reads the files of a TLS listener.
func (p *params) tls(c *TCPOptions) {
	cert, _ := p.get("cert")
	key, _ := p.get("key")
	clientCA, _ := p.get("client_ca")
	if cert == "" || key == "" {
		p.bad("want cert=FILE and key=FILE, in PEM")
		return
	}
	var err error
	if c.TLS, err = TLSFiles(cert, key, clientCA, c.Logger); err != nil {
		p.bad("%w", err)
	}
}

// proxy reads the sources whose PROXY headers are trusted. Both parameters are required: with only one of them, the
// intention is unclear.
func (p *params) proxy(on string, from *[]netip.Prefix) {
	enabled := len(*from) > 0
	p.choice("proxy", func(v string) bool { enabled = v == on; return enabled || v == "off" }, on+" or off")
	list, ok := p.get("trust")
	switch {
	case ok && !enabled:
		p.bad("trust=%s without proxy=%s", list, on)
	case enabled && !ok && len(*from) == 0:
		p.bad("proxy=%s: want trust=CIDR[,CIDR] too, the addresses of the proxies", on)
	case !enabled:
		*from = nil
	case ok:
		*from = nil
		for _, s := range strings.Split(list, ",") {
			x, err := parsePrefix(s)
			if err != nil {
				p.bad("trust=%s: %q is neither a network such as 10.0.0.0/8 nor an address", list, s)
				return
			}
			*from = append(*from, x)
		}
	}
}

// attrs reads whether records have the attributes of their connection.
func (p *params) attrs(f *func(*Stream) map[string]string) {
	p.choice("attrs", func(v string) bool {
		*f = map[string]func(*Stream) map[string]string{"conn": ConnAttrs}[v]
		return v == "conn" || v == "off"
	}, "conn or off")
}

// parsePrefix parses a network, or an address as a network of that one address.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

// path returns the path of a unix socket.
func (p *params) path() string {
	if p.url.Host != "" || p.url.Path == "" {
		p.bad("want three slashes and an absolute path: %s:///run/log.sock", p.url.Scheme)
	}
	return p.url.Path
}

// get returns a parameter and removes it; more than one value is a mistake.
func (p *params) get(name string) (value string, ok bool) {
	v, ok := p.values[name]
	delete(p.values, name)
	if len(v) > 1 {
		p.bad("%s is given %d times", name, len(v))
	}
	if !ok {
		return "", false
	}
	return v[0], true
}

// choice reads a parameter with set, which returns false for an invalid value.
func (p *params) choice(name string, set func(value string) bool, want string) {
	if v, ok := p.get(name); ok && !set(v) {
		p.bad("%s=%s: want %s", name, v, want)
	}
}

// text reads a parameter that must not be empty.
func (p *params) text(name string, s *string) {
	p.choice(name, func(v string) bool { *s = v; return v != "" }, "a name or a number")
}

// number reads a parameter whose minimum is least.
func (p *params) number(name string, n *int, least int) {
	p.choice(name, func(v string) bool {
		i, err := strconv.Atoi(v)
		*n = i
		return err == nil && i >= least
	}, fmt.Sprintf("a number of at least %d", least))
}

// bytes reads a size.
func (p *params) bytes(name string, n *int) {
	p.choice(name, func(v string) (ok bool) { *n, ok = parseBytes(v); return ok }, "bytes, for example 65535, 64KiB or 64MiB")
}

// parseBytes reads a positive size of at most 1 TiB.
func parseBytes(s string) (n int, ok bool) {
	unit := int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if cut, found := strings.CutSuffix(s, suffix); found {
			s, unit = cut, u
		}
	}
	i, err := strconv.ParseInt(s, 10, 32)
	if err != nil || i < 1 || i*unit > math.MaxInt || i*unit > 1<<40 {
		return 0, false
	}
	return int(i * unit), true
}

// invalid adds the mistakes that validate finds in the options, unless parameters were wrong already: then the options
// are incomplete.
func (p *params) invalid(validate func() error) {
	if len(p.errs) == 0 {
		if err := validate(); err != nil {
			p.errs = append(p.errs, err)
		}
	}
}

// finish returns all mistakes at once, including unknown parameters.
func (p *params) finish() error {
	for name := range p.values {
		p.bad("parameter %q is not known for %s://", name, p.url.Scheme)
	}
	if len(p.errs) == 0 {
		return nil
	}
	return fmt.Errorf("ingest: %q: %w", p.url.Redacted(), errors.Join(p.errs...))
}
