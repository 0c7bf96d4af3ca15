package main

import "github.com/penstock-go/penstock/examples/internal/cli"

var exitCodes = []string{
	"0  complete, or closed by an operator", "1  something is damaged", "2  the command line is wrong", "3  something is still owed", "4  the audit could not be finished",
}

// command describes the program. Its help, manual page and completion scripts are made from the description.
func command() *cli.Command {
	_, flags := newFlags()
	_, serve := serveFlags()
	_, wait := waitFlags()
	return &cli.Command{
		Name: "audit", Does: "says, from the contents of the destinations alone, whether anything is missing, duplicated or altered",
		Synopsis: []string{"-at URL [-at URL …] [flags]"}, Flags: flags, Exit: exitCodes,
		Commands: []*cli.Command{
			{
				Name: "audit serve", Does: "watches the destinations, and serves a page, JSON and metrics", Synopsis: []string{"-at URL [-at URL …] [flags]"},
				Flags: serve.FlagSet, Exit: []string{"0  it was told to end", "2  the command line is wrong", "4  it could not serve"},
				Text: `It begins with a full audit, and then asks only for what may be new. Its credentials need to read and list, no more. Each flag is also a
variable (PENSTOCK_FULL_INTERVAL for -full-interval) and a key of the file that -config names.

The page at / has a calendar of hours for each class: an hour is complete, closed, owed or damaged. /status.json has everything as JSON, /metrics
has metrics for Prometheus.

With -mark, a marker is written for each complete hour: one object, _complete/CLASS/dt=YYYY-MM-DD/hour=HH.json. This is the only thing that
audit serve writes. The URL has credentials of its own, which may create objects below _complete/ and read them:

  S3    s3:PutObject and s3:GetObject on PREFIX/_complete/*, s3:ListBucket
  SFTP  write access to _complete/ and _tmp/`,
			},
			{
				Name: "audit wait", Does: "waits until an hour of a class is complete, for batch jobs", Synopsis: []string{"-at URL [-at URL …] -class CLASS -hour HOUR [flags]"},
				Flags: wait.FlagSet, Exit: []string{"0  the hour is complete, or closed by an operator", exitCodes[1], exitCodes[2], "3  the hour is still owed after -timeout", exitCodes[4]},
				Text: `It ends at once if the hour is damaged: that takes an operator. A destination that cannot be asked is asked again. With -mark it writes the marker
of the hour before it ends: see audit help serve.`,
			},
			{
				Name: "audit replay", Does: "restores objects that one destination has lost", Synopsis: []string{"-from URL -to URL -class CLASS -spool ID [-first N] [-last N]"},
				Flags: newReplay().FlagSet,
			},
			{
				Name: "audit close", Does: "states that a spool is permanently gone", Synopsis: []string{"-at URL [-at URL …] -class CLASS -spool ID -reason TEXT [flags]"},
				Flags: newClose().FlagSet,
			},
		},
	}
}
