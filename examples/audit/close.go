package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/user"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
)

// closeSpool writes, next to the chains of a spool, the statement that the spool is permanently gone.
func closeSpool(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return newClose().run(ctx, args, stdout, stderr)
}

func newClose() *change[audit.Closure] {
	var o audit.CloseOptions
	var at []string
	c := newChange[audit.Closure]("audit close", &o.Class, &o.Spool)
	c.Func("at", "`URL` of a destination at which to close the spool's chain, with credentials that can write there; repeatable", func(s string) error {
		at = append(at, s)
		return nil
	})
	c.StringVar(&o.Reason, "reason", "", "`TEXT` that says why the spool can deliver nothing more")
	c.StringVar(&o.By, "by", operator(), "`NAME` of the person who closes it")
	sign := c.String("sign", "", "`FILE` with the private key (PEM, ed25519) to sign with; needed where the chain is signed")
	c.ready = func() (_ []string, err error) {
		if len(at) == 0 || o.Reason == "" {
			return nil, errors.New("close: -at and -reason are needed")
		}
		if *sign != "" {
			o.Signer, err = ship.ReadPrivateKey(*sign)
		}
		return at, err
	}
	c.do = func(ctx context.Context, all []audit.Place) ([]audit.Closure, error) {
		o.Places = all
		return audit.Close(ctx, &o)
	}
	return c
}

// operator returns "user@host"; parts that the system does not know are "unknown".
func operator() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
