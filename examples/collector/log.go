package main

import (
	"io"
	"log/slog"

	"github.com/penstock-go/penstock/drain"
)

// levels are the values of -log-level, logFormats those of -log-format.
var (
	levels     = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

// logging holds the settings of the log.
type logging struct {
	logLevel  string
	logFormat string
	level     slog.LevelVar // the level of the running log
}

// newLog returns the log of the service. Its level is c.level, which may change later.
func newLog(c *config, w io.Writer) (log *slog.Logger) {
	c.setLevel(c.logLevel)
	o := &slog.HandlerOptions{Level: &c.level}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if c.logFormat == "json" {
		h = slog.NewJSONHandler(w, o)
	}
	if len(c.set.Warnings()) > 0 {
		defer func() {
			for _, w := range c.set.Warnings() {
				log.Warn("a variable of the environment is ignored: correct its name, or remove it", "warning", w)
			}
		}()
	}
	return drain.NonBlocking(slog.New(h)) // a log that nobody reads must not block the service
}

// setLevel sets the level of the log.
func (l *logging) setLevel(name string) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(name)) // one of levels
	l.logLevel = name
	l.level.Set(level)
}
