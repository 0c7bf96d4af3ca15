package main

import (
	"flag"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
)

const usage = `Every flag is also the variable PENSTOCK_NAME and a key of the YAML file that -config names: -spool-max-bytes is
PENSTOCK_SPOOL_MAX_BYTES and spool-max-bytes. The command line overrides the environment, the environment the file, and the file the
default. A list or a mapping replaces the whole one of the source that it overrides. In a variable, white space separates the values
of a list.

SIZE is a number of bytes or one with KiB, MiB, GiB or TiB, TIME something like 90s, 10m or 1h30m. A file looks like this:

  spool: /var/spool/penstock
  http: :8080
  codec: zstd:3
  dest:
    s3: s3://bucket/prefix?region=eu-central-1
    idc:
      url: sftp://ingest@idc.example/srv/ingest
      key: /etc/penstock/key
      known_hosts: /etc/penstock/known_hosts
  limit: {idc: 20MiB}
  classes:
    vpn:
      listen: [udp://:5140, tcp://:5140]
      spool-max-bytes: 200GiB
    web:
      listen: {url: tls://:6514, cert: /etc/penstock/tls.crt, key: /etc/penstock/tls.key}
      codec: gzip

No flag and no key takes a password: destinations read secrets from the files and variables that their parameters name.

At SIGHUP the collector reads the file again, and applies what can change while records flow: -log-level, -limit, and destinations
that are new or have other credentials. It logs what it could not change. SIGUSR2 replaces the process by a new one with all of the
settings, without losing a record. Renewed certificates, keys and known hosts are read without a signal.
`

// exits are the exit codes of the service.
var exits = []string{
	"0  drained and verified, or stopped with nothing pending",
	"1  anything else",
	"2  usage",
	"3  stopped; records are pending for a destination",
	"4  the drain is incomplete, kept records are damaged and not given up, or records could not be kept at the end",
	"5  a verification mismatch or a conflict",
}

// command describes the collector and its commands.
func command() *cli.Command {
	_, f := newConfig("collector")
	var o checkOptions
	check := newFlagSet("collector check")
	o.define(check)
	var g giveUpFlags
	var st statusFlags
	return &cli.Command{
		Name: "collector", Does: "receives records, keeps them on this host's disk, and delivers them to every destination",
		Synopsis: []string{"-config FILE [flags]", "-spool DIR -listen CLASS=URL … -dest NAME=URL … [flags]"},
		Text:     usage, Flags: f.FlagSet, Exit: exits,
		Choices: map[string][]string{"lifecycle": platformNames(), "log-level": levels, "log-format": logFormats, "format": format.Names(), "codec": compress.Names()},
		Commands: []*cli.Command{
			{
				Name: "collector check", Does: "checks the settings, and tries each destination", Synopsis: []string{"[-offline] [flags of the collector]"},
				Text: checkUsage, Flags: check, Also: f.FlagSet, Exit: checkExits,
			},
			{
				Name: "collector give-up", Does: "acknowledges damage: records that were kept, and that the disk no longer returns",
				Synopsis: []string{"-spool DIR -class CLASS", "-spool DIR -class CLASS -segment N -records FIRST-LAST,… -confirm lose-COUNT-records"},
				Text:     giveUpUsage, Flags: g.flags(),
			},
			{
				Name: "collector status", Does: "prints how a running collector is doing", Synopsis: []string{"[-http ADDR] [-json]"},
				Text: statusUsage, Flags: st.flags(), Exit: statusExits,
			},
		},
	}
}

// define defines every flag, with its default.
func (c *config) define(f *cli.Set) {
	f.Text(&c.file, "config", "read settings from this YAML `FILE`: each flag is a key there")
	c.defineWay(f)
	c.defineSpool(f)
	c.defineAdoption(f)
	c.defineEnd(f)
	c.logLevel, c.logFormat = levels[1], logFormats[0]
	f.Value("http", "`ADDR` of the status page at / and of /status.json, /metrics, /livez, /readyz, /readyz/CLASS and /adoptions", c.setHTTP)
	f.Choice(&c.logLevel, "log-level", "write log lines of this `LEVEL` and above: "+cli.OneOf(levels)+" (default "+c.logLevel+")", levels...)
	f.Choice(&c.logFormat, "log-format", "`FORMAT` of the log: "+cli.OneOf(logFormats)+" (default "+c.logFormat+")", logFormats...)
	f.Text(&c.cpuProfile, "cpu-profile", "write a CPU profile of the whole run to `FILE`")
	f.FlagOnly("prestop")
	f.Reloads("at once", "log-level")
	f.Reloads("at once", "limit")
	f.Reloads("new destinations are served, and changed parameters of a destination are used, if it is the same place; none is removed", "dest")
}

// defineWay defines where records are received, and where they are delivered.
func (c *config) defineWay(f *cli.Set) {
	f.URLs("listen", "`CLASS=URL` to receive records of CLASS at, with the scheme "+cli.OneOf(ingest.Schemes(framings))+"; repeatable", c.addListen)
	f.OfClasses("listen")
	f.URLs("dest", "`NAME=URL` of a destination: "+open.Forms()+"; repeatable, every destination gets every record", c.addDest)
	f.List(&c.forget, "forget", "`NAME` of a destination that is no longer given: give up what it still lacks")
	f.Named("limit", "`DEST=SIZE` or DEST/CLASS=SIZE: limit uploads to so many bytes per second, for all classes together or for one; a drain lifts the limit; repeatable", c.addLimit)
	c.codec.All.name = compress.Names()[0]
	cli.Classed(f, &c.codec, "codec", "`CODEC`[:LEVEL] to compress objects with: "+cli.OneOf(compress.Names())+" (default "+c.codec.All.name+")", parseCodec)
	c.format.All = format.Names()[0]
	cli.Classed(f, &c.format, "format", "`FORMAT` of objects: "+cli.OneOf(format.Names())+" (default "+c.format.All+")", parseFormat)
	f.Value("sign", "sign manifests with the key in `KEYFILE`, which `openssl genpkey -algorithm ed25519 -out KEYFILE` makes", c.readKey)
}

// defineSpool defines how records are kept on the disk.
func (c *config) defineSpool(f *cli.Set) {
	c.segmentBytes.All, c.segmentAge.All = 64<<20, 60*time.Second
	c.sync.All = syncSetting{spool.SyncInterval, 10 * time.Millisecond}
	f.Text(&c.spoolDir, "spool", "`DIR` for the spools, one subdirectory per class")
	cli.Classed(f, &c.segmentBytes, "segment-bytes", "seal a segment at this `SIZE` (default 64MiB)", cli.ParseSize)
	cli.Classed(f, &c.segmentAge, "segment-age", "seal a segment at this `AGE` (default 60s)", parsePositive)
	cli.Classed(f, &c.sync, "sync", "`INTERVAL` of fdatasync (default 10ms), always, or none", parseSync)
	cli.Classed(f, &c.maxBytes, "spool-max-bytes", "limit the spool of a class to this `SIZE` (default 90 % of the file system that its directory is on, divided by the classes there)", cli.ParseSize)
}

// defineAdoption defines how spools that other instances left behind are delivered.
func (c *config) defineAdoption(f *cli.Set) {
	c.adoptPatience = 15 * time.Minute
	f.List(&c.adopt, "adopt", "also deliver what other instances left behind in `DIR`: a spool, or a directory (for example of mount points) that is watched for spools up to 3 levels deep")
	f.Size(&c.adoptMaxBytes, "adopt-max-bytes", "`SIZE` of the disk space below -spool that one adoption may use (default 5 % of the file system)")
	f.Duration(&c.adoptPatience, "adopt-patience", "take over from another adopter that has written nothing for this `TIME` (default 15m)")
}

// defineEnd defines how the process ends, and which platform takes part in its end.
func (c *config) defineEnd(f *cli.Set) {
	c.drainTimeout, c.quiesce, c.lifecycle = 10*time.Minute, 130*time.Second, auto
	f.Text(&c.lifecycle, "lifecycle", "`PLATFORM` that may take this instance away: "+cli.OneOf(platformNames())+"; auto detects it (default "+auto+")")
	f.Value("on-term", "`stop|drain`: what SIGTERM and SIGINT do (default stop; drain where the disk may go with the container)", c.setOnTerm)
	f.Duration(&c.drainTimeout, "drain-timeout", "`TIME` that a drain may take, from its trigger to its report (default 10m)")
	f.Duration(&c.grace, "grace", "`TIME` from SIGTERM to SIGKILL (terminationGracePeriodSeconds, stopTimeout); every stop and drain is shortened to it (default "+graces()+", otherwise no limit)")
	f.Duration(&c.quiesce, "quiesce", "before the sockets close at a scale-in, wait until no record has arrived for this `TIME`; the wait ends after 300s, or after TIME if that is longer; 0 does not wait (default 130s)")
	f.Text(&c.asgHook, "asg-hook", "`NAME` of the group's termination hook (default: its only one)")
	f.Size(&c.protectAbove, "protect-above", "`SIZE` of a backlog above which the platform is asked to take another instance: an Auto Scaling group (default never) or an ECS service (default from the first byte)")
	f.Text(&c.preStop, "prestop", "only tell the collector whose -http is `ADDR` that its pod is being deleted: for a preStop hook")
	f.Text(&c.report, "report", "write the final report to `FILE` (default DIR/report.json)")
}

// newFlagSet returns an empty set for a command that reads neither the environment nor the file.
func newFlagSet(name string) *flag.FlagSet { return flag.NewFlagSet(name, flag.ContinueOnError) }
