// Package place opens destinations by URL, as every example takes them on its command line.
package place

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/s3ship"
	"github.com/penstock-go/penstock/ship/sftpship"
)

// Open opens the destination behind s3://, sftp:// or file://. It reaches nothing over the network yet; its errors are
// mistakes in the URL, and files it names that cannot be read. What the driver tells the operator goes to slog.Default.
func Open(ctx context.Context, raw string) (ship.Destination, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "s3":
		return s3ship.Open(ctx, raw, &s3ship.Options{Logger: slog.Default()})
	case "sftp":
		return sftpship.Open(ctx, raw, &sftpship.Options{Logger: slog.Default()})
	case "file":
		return fileship.Open(ctx, raw, &fileship.Options{Logger: slog.Default()})
	}
	return nil, fmt.Errorf("%q: a destination is an s3://, sftp:// or file:// URL", raw)
}
