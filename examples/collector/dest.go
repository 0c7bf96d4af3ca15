package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/s3ship"
	"github.com/penstock-go/penstock/ship/sftpship"
)

// openDestination opens what -dest names. Nothing is reached over the network yet: an unusable destination never stops a
// start, an unusable flag does.
func openDestination(ctx context.Context, raw string) (ship.Destination, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "s3":
		return s3ship.Open(ctx, raw, nil)
	case "sftp":
		return sftpship.Open(ctx, raw, nil)
	case "file":
		return fileship.Open(ctx, raw, nil)
	}
	return nil, fmt.Errorf("%q: a destination is an s3://, sftp:// or file:// URL", raw)
}
