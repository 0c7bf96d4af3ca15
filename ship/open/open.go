package open

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/s3ship"
	"github.com/penstock-go/penstock/ship/sftpship"
)

// drivers is the table of schemes. A driver that is added to it is known to every program and in every message.
var drivers = []driver{
	{"s3://BUCKET/PREFIX", func(ctx context.Context, rawURL string, log *slog.Logger) (ship.Destination, error) {
		return s3ship.Open(ctx, rawURL, &s3ship.Options{Logger: log})
	}},
	{"sftp://USER@HOST/DIR", func(ctx context.Context, rawURL string, log *slog.Logger) (ship.Destination, error) {
		return sftpship.Open(ctx, rawURL, &sftpship.Options{Logger: log})
	}},
	{"file:///DIR", func(ctx context.Context, rawURL string, log *slog.Logger) (ship.Destination, error) {
		return fileship.Open(ctx, rawURL, &fileship.Options{Logger: log})
	}},
}

// driver opens the URLs of one scheme.
type driver struct {
	form string // of its URLs, for messages
	open func(ctx context.Context, rawURL string, log *slog.Logger) (ship.Destination, error)
}

func (d driver) scheme() string {
	scheme, _, _ := strings.Cut(d.form, ":")
	return scheme
}

// Options configure a destination beyond its URL. nil is fine.
type Options struct {
	// Logger gets warnings that only an operator can judge, such as that a directory was created, which may mean that a
	// volume is not mounted. nil discards them.
	Logger *slog.Logger
}

// Destination opens the destination that rawURL names. Each driver's package documents the parameters of its URLs. A
// destination that needs to be closed implements io.Closer.
//
// Destination does not use the network, so an unreachable destination never prevents a start. Its error lists the
// mistakes in the URL and the files named there that cannot be read.
func Destination(ctx context.Context, rawURL string, o *Options) (ship.Destination, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error repeats the URL, or the part that is wrong: s3://KEY:SECRET/x has "the port" SECRET.
		return nil, fmt.Errorf("open: this is no URL: use %s", Forms())
	}
	if o == nil {
		o = new(Options)
	}
	for _, driver := range drivers {
		if driver.scheme() != u.Scheme {
			continue
		}
		d, err := driver.open(ctx, rawURL, o.Logger)
		if err != nil {
			return nil, err // not d, which holds the driver's nil pointer
		}
		return d, nil
	}
	return nil, fmt.Errorf("open: the scheme %q is not one of a destination: use %s", u.Scheme, Forms())
}

// Forms describes the URLs that Destination accepts, for flag texts and messages: "s3://BUCKET/PREFIX, … or file:///DIR".
func Forms() string {
	var forms []string
	for _, driver := range drivers {
		forms = append(forms, driver.form)
	}
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or " + forms[last]
}
