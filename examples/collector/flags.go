package main

import (
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
)

const usage = `collector receives records, keeps them on this host's disk, and delivers them to every destination.

  collector -spool DIR -listen CLASS=URL … -dest NAME=URL … [flags]
  collector give-up -spool DIR -class CLASS      acknowledges damage on this disk; give-up -h says more
  collector -version

SIZE is a number of bytes or one with KiB, MiB, GiB or TiB, TIME something like 90s, 10m or 1h30m.

`

// define defines every flag, with its default.
func (c *config) define(f *flagSet) {
	c.defineWay(f)
	c.defineSpool(f)
	c.defineAdoption(f)
	c.defineEnd(f)
	f.StringVar(&c.http, "http", "", "`ADDR` of the status page at / and of /status.json, /livez, /readyz, /readyz/CLASS and /adoptions")
	f.StringVar(&c.cpuProfile, "cpu-profile", "", "write a CPU profile of the whole run to `FILE`")
}

// defineWay defines from where records come and to where they are delivered.
func (c *config) defineWay(f *flagSet) {
	f.value("listen", "`CLASS=URL` to receive records of CLASS at, with the scheme "+oneOf(ingest.Schemes(framings))+"; repeatable", c.addListen)
	f.value("dest", "`NAME=URL` of a destination: "+open.Forms()+"; repeatable, every destination gets every record", c.addDest)
	f.list(&c.forget, "forget", "`NAME` of a destination that is no longer given: give up what it still lacks")
	f.value("limit", "`DEST=SIZE` or DEST/CLASS=SIZE: limit uploads to so many bytes per second, for all classes together or for one; a drain lifts the limit; repeatable", c.addLimit)
	c.codec.all.name = compress.Names()[0]
	classed(f, &c.codec, "codec", "`CODEC`[:LEVEL] to compress objects with: "+oneOf(compress.Names())+" (default "+c.codec.all.name+")", parseCodec)
	c.format.all = format.Names()[0]
	classed(f, &c.format, "format", "`FORMAT` of objects: "+oneOf(format.Names())+" (default "+c.format.all+")", parseFormat)
	f.value("sign", "sign manifests with the key in `KEYFILE`, which `openssl genpkey -algorithm ed25519 -out KEYFILE` makes", c.readKey)
}

// defineSpool defines how records are kept on the disk.
func (c *config) defineSpool(f *flagSet) {
	c.segmentBytes.all, c.segmentAge.all = 64<<20, 60*time.Second
	c.sync.all = syncSetting{spool.SyncInterval, 10 * time.Millisecond}
	f.StringVar(&c.spoolDir, "spool", "", "`DIR` for the spools, one subdirectory per class")
	classed(f, &c.segmentBytes, "segment-bytes", "seal a segment at this `SIZE` (default 64MiB)", parseSize)
	classed(f, &c.segmentAge, "segment-age", "seal a segment at this `AGE` (default 60s)", parsePositive)
	classed(f, &c.sync, "sync", "`INTERVAL` of fdatasync (default 10ms), always, or none", parseSync)
	classed(f, &c.maxBytes, "spool-max-bytes", "limit the spool of a class to this `SIZE` (default 90 % of the file system that its directory is on, divided by the classes there)", parseSize)
}

// defineAdoption defines how spools that other instances left behind are delivered.
func (c *config) defineAdoption(f *flagSet) {
	c.adoptPatience = 15 * time.Minute
	f.list(&c.adopt, "adopt", "also deliver what other instances left behind in `DIR`: a spool, or a directory such as one of mounts, which is watched for spools up to 3 levels below it")
	f.size(&c.adoptMaxBytes, "adopt-max-bytes", "`SIZE` of the disk space below -spool that one adoption may use (default 5 % of the file system)")
	f.duration(&c.adoptPatience, "adopt-patience", "consider another adopter dead that has written nothing for this `TIME` (default 15m)")
}

// defineEnd defines how the process ends, and which platform takes part in that.
func (c *config) defineEnd(f *flagSet) {
	c.drainTimeout, c.quiesce = 10*time.Minute, 130*time.Second
	f.StringVar(&c.lifecycle, "lifecycle", auto, "`PLATFORM` that may take this instance away: "+oneOf(platformNames())+"; auto detects it")
	f.value("on-term", "`stop|drain`: what SIGTERM and SIGINT do (default stop; drain where the disk may go with the container)", c.setOnTerm)
	f.duration(&c.drainTimeout, "drain-timeout", "`TIME` that a drain may take, from its trigger to its report (default 10m)")
	f.duration(&c.grace, "grace", "`TIME` from SIGTERM to SIGKILL, to which every end is cut: terminationGracePeriodSeconds, stopTimeout (default "+graces()+", otherwise no limit)")
	f.duration(&c.quiesce, "quiesce", "before the sockets close at a scale-in, wait until no record has arrived for this `TIME`; the wait ends after 300s, or after TIME if that is longer; 0 does not wait (default 130s)")
	f.StringVar(&c.asgHook, "asg-hook", "", "`NAME` of the group's termination hook (default: its only one)")
	f.size(&c.protectAbove, "protect-above", "`SIZE` of a backlog above which the platform is asked to take another instance: an Auto Scaling group (default never) or an ECS service (default from the first byte)")
	f.StringVar(&c.preStop, "prestop", "", "only tell the collector whose -http is `ADDR` that its pod is being deleted: for a preStop hook")
	f.StringVar(&c.report, "report", "", "write the final report to `FILE` (default DIR/report.json)")
}
