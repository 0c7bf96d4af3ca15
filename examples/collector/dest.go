package main

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

// openDestination opens what -dest names. Nothing is reached over the network yet: an unusable destination never stops a
// start, an unusable flag does. The drivers log what only the operator can judge, such as a directory that had to be
// created although its volume should have held it.
func openDestination(ctx context.Context, raw string, log *slog.Logger) (ship.Destination, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "s3":
		return s3ship.Open(ctx, raw, &s3ship.Options{Logger: log})
	case "sftp":
		return sftpship.Open(ctx, raw, &sftpship.Options{Logger: log})
	case "file":
		return fileship.Open(ctx, raw, &fileship.Options{Logger: log})
	}
	return nil, fmt.Errorf("%q: a destination is an s3://, sftp:// or file:// URL", raw)
}
