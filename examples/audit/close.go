package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/user"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
)

// closeSpool states, beside the chains of a spool, that it is permanently gone.
func closeSpool(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o audit.CloseOptions
	var at []string
	fs := flag.NewFlagSet("audit close", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Func("at", "destination `URL` at which the spool's chain is closed, with credentials that may write there; repeatable", func(s string) error {
		at = append(at, s)
		return nil
	})
	fs.StringVar(&o.Class, "class", "", "`CLASS` of the spool")
	fs.StringVar(&o.Spool, "spool", "", "spool `ID`, as the audit prints it")
	fs.StringVar(&o.Reason, "reason", "", "`TEXT` that says why nothing more can come from it")
	fs.StringVar(&o.By, "by", operator(), "who closes it")
	sign := fs.String("sign", "", "`FILE` with the private key (PEM, ed25519) to sign with; needed where the chain is signed")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && (len(at) == 0 || o.Class == "" || o.Spool == "" || o.Reason == "" || fs.NArg() > 0) {
		err = errors.New("close: -at, -class, -spool and -reason are all needed, and nothing else but -by and -sign")
	}
	if err == nil && *sign != "" {
		o.Signer, err = ship.ReadPrivateKey(*sign)
		if w := ship.KeyExposed(*sign); w != "" {
			fmt.Fprintln(stderr, "audit: warning:", w)
		}
	}
	var done func()
	if err == nil {
		o.Places, done, err = places(ctx, at...)
	}
	if err != nil {
		fmt.Fprintln(stderr, "audit:", err)
		return exitUsage
	}
	defer done()
	closed, err := audit.Close(ctx, &o)
	out := json.NewEncoder(stdout)
	for _, c := range closed {
		err = errors.Join(err, out.Encode(c))
	}
	if err != nil {
		return failed(stderr, err)
	}
	return 0
}

// operator is "user@host", as far as the system says.
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
