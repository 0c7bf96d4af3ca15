package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/examples/internal/cli"
)

const statusUsage = `Asks a running collector for its status page's numbers, and prints them as a table, with everything that needs attention and
what to do about it.
`

// The exit codes of status in addition to the general ones.
const (
	exitWarning = 3
	exitError   = 4
)

// statusExits are the exit codes of status; a script needs no other output.
var statusExits = []string{
	"0  all is well",
	"1  the collector does not answer",
	"2  usage",
	"3  something needs attention, and nothing is lost (warnings)",
	"4  records are lost, or cannot be delivered until somebody acts (errors)",
}

// statusFlags is the command line of status.
type statusFlags struct {
	http string
	json bool
}

// flags defines the flags of status.
func (o *statusFlags) flags() *flag.FlagSet {
	f := newFlagSet("collector status")
	f.StringVar(&o.http, "http", cmp.Or(os.Getenv(cli.Variable("http")), "127.0.0.1:8080"), "`ADDR` of the collector's -http, or a URL")
	f.BoolVar(&o.json, "json", false, "print /status.json as it is")
	return f
}

// showStatus is the command status. It returns the exit code.
func showStatus(args []string, stdout, stderr io.Writer) int {
	var o statusFlags
	f := o.flags()
	f.SetOutput(stderr)
	f.Usage = func() { command().Find("status").Help(stderr) }
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	fail := func(err error, code int) int {
		fmt.Fprintln(stderr, "collector status:", err)
		return code
	}
	if f.NArg() > 0 {
		return fail(fmt.Errorf("unexpected argument %q", f.Arg(0)), exitUsage)
	}
	at, err := statusURL(o.http)
	if err != nil {
		return fail(err, exitUsage)
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	body, s, err := getStatus(ctx, at)
	if err != nil {
		return fail(fmt.Errorf("%w: is the collector running, with -http at this address?", err), exitFailed)
	}
	if o.json {
		_, err = stdout.Write(body)
	} else {
		err = s.WriteTable(stdout)
	}
	if err != nil {
		return fail(err, exitFailed)
	}
	switch s.State {
	case status.OK:
		return 0
	case status.Warning:
		return exitWarning
	}
	return exitError
}

// maxStatus bounds how much of an answer is read.
const maxStatus = 64 << 20

// getStatus asks a collector.
func getStatus(ctx context.Context, at string) (body []byte, s *status.Snapshot, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, nil, err
	}
	// The address is this host or one that the user named: a proxy set in the environment is not meant for it.
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer r.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(r.Body, maxStatus)); err != nil {
		return nil, nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answers %s", at, r.Status)
	}
	if err := json.Unmarshal(body, &s); err != nil || s == nil || s.Version != 1 {
		return nil, nil, errors.Join(fmt.Errorf("%s is not the status of a collector that this program knows", at), err)
	}
	return body, s, nil
}

// statusURL returns the URL of /status.json for a value of -http.
func statusURL(addr string) (string, error) {
	if !strings.Contains(addr, "://") {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return "", errors.New("-http: use HOST:PORT or a URL")
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		addr = "http://" + net.JoinHostPort(host, port)
	}
	u, err := cli.PageURL(addr)
	if err != nil {
		return "", fmt.Errorf("-http: use HOST:PORT or a URL: %w", err)
	}
	return u.JoinPath("status.json").String(), nil
}
