package drain

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/scrub"
	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/internal/units"
)

// Systemd returns the Lifecycle of a service that systemd runs with Type=notify (sd_notify(3)); nil if NOTIFY_SOCKET is
// not set. It reports READY=1 when Run begins and STOPPING=1 when the end begins. STATUS says what is pending and what is
// wrong, for systemctl status. During the end it extends the time that systemd allows (EXTEND_TIMEOUT_USEC) as long as
// something moves, so that TimeoutStopSec need not cover a drain. TimeoutStartSec must cover everything before Run. Failures
// are logged to log; nil discards.
//
// With WatchdogSec in the unit (systemd.service(5)) it sends WATCHDOG=1 three times in that period while the service
// runs; STOPPING=1 ends systemd's watch. A ping says only that this process schedules its goroutines and that no spool or
// shipper hangs with its lock held. Readiness reports a full spool or a class that is down; neither is a reason to kill
// the process, which would lose what the other classes have in memory. WatchdogSec should be a minute or more: after
// ingest.HandOver the new process sends no pings before its Run begins, when the old one has written everything to disk.
func Systemd(log *slog.Logger) Lifecycle {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	// sd_watchdog_enabled(3) also checks WATCHDOG_PID, to exclude children. After a hand-over the child is the service, and
	// its environment still names the old process, so WATCHDOG_PID is ignored here.
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec < 0 || usec > math.MaxInt64/int64(time.Microsecond) {
		usec = 0
	}
	log = steadylog.Wrap(log)
	return &systemd{path: path, log: log, pingEvery: time.Duration(usec) * time.Microsecond / 3}
}

const (
	// During the end, systemd is updated every extendEvery, and each time asked for extendBy. TimeoutStopSec is 90 s by
	// default.
	extendEvery = 5 * time.Second
	extendBy    = 60 * time.Second
)

type systemd struct {
	path      string
	log       *slog.Logger
	pingEvery time.Duration // 0: the unit has no watchdog

	// Only Update uses these fields; one goroutine at a time calls it.
	ready    bool
	stopping bool
	pinged   time.Time
	updated  time.Time // during the end
	phase    string
	trouble  string // the trouble in STATUS while the service runs
	told     time.Time
}

// statusEvery is how often STATUS is updated while the service runs. A change of the trouble updates it at once.
const statusEvery = 10 * time.Second

// runStatus returns the STATUS of a running service: what is pending, and what is wrong.
func runStatus(p *Status) string {
	text := "running, " + units.Records(p.Pending.Records, p.Pending.Bytes) + " pending"
	if what := trouble(p); what != "" {
		text += "; " + what
	}
	return text
}

// trouble returns what is wrong, in one line: STATUS ends at a line break.
func trouble(p *Status) string {
	var parts []string
	if p.NotReady != nil {
		parts = append(parts, "not ready: "+p.NotReady.Error())
	}
	for _, dest := range slices.Sorted(maps.Keys(p.Destinations)) {
		if err := p.Destinations[dest].Err; err != nil {
			parts = append(parts, dest+" fails: "+err.Error())
		}
	}
	return scrub.Text(strings.Join(parts, "; "), maxStatus) // every user of this machine can read it
}

// maxStatus is the most bytes of trouble in STATUS, which keeps it readable and the datagram short.
const maxStatus = 500

// Notice returns none: systemd gives its notice by signal.
func (s *systemd) Notice(context.Context) (Notice, bool, error) { return Notice{}, false, nil }

func (s *systemd) Update(_ context.Context, p Status) {
	if p.Phase == PhaseRun {
		if !s.ready {
			s.ready = true
			s.trouble, s.told = trouble(&p), time.Now()
			s.notify("READY=1\nSTATUS=" + runStatus(&p))
		}
		if what := trouble(&p); what != s.trouble || time.Since(s.told) >= statusEvery {
			s.trouble, s.told = what, time.Now()
			s.notify("STATUS=" + runStatus(&p))
		}
		if s.pingEvery > 0 && time.Since(s.pinged) >= s.pingEvery {
			s.pinged = time.Now()
			s.notify("WATCHDOG=1")
		}
		return
	}
	if p.Phase == s.phase && time.Since(s.updated) < extendEvery {
		return
	}
	s.updated, s.phase = time.Now(), p.Phase
	msg := fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=%s: %d records pending", extendBy.Microseconds(), p.Phase, p.Pending.Records)
	if p.ETA > 0 {
		msg += ", about " + p.ETA.Round(time.Second).String()
	}
	if !s.stopping {
		s.stopping = true
		msg = "STOPPING=1\n" + msg
	}
	s.notify(msg)
}

func (s *systemd) Finish(_ context.Context, r *Report) (bool, error) {
	return false, s.send("STATUS=" + string(r.Intent) + ": " + string(r.Outcome))
}

func (s *systemd) notify(msg string) {
	if err := s.send(msg); err != nil {
		s.log.Warn("drain: cannot notify systemd; the service works, but systemd may end it at a time-out: see NOTIFY_SOCKET and NotifyAccess=", "err", err)
	}
}

// send sends one datagram to systemd's unix socket. Package net supports the abstract namespace ("@…") too.
func (s *systemd) send(msg string) error {
	if !strings.HasPrefix(s.path, "/") && !strings.HasPrefix(s.path, "@") {
		return fmt.Errorf("drain: NOTIFY_SOCKET %q: only a path or an abstract name is supported", s.path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("drain: NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	// A systemd that hangs must not hang the drain.
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("drain: NOTIFY_SOCKET: %w", err)
	}
	if _, err := conn.Write([]byte(msg)); err != nil {
		return fmt.Errorf("drain: NOTIFY_SOCKET: %w", err)
	}
	return nil
}
