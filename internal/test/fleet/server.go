//go:build linux

package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// The ports of a server.
const (
	statusPort = 8080
	udpVPN     = 514
	udpNet     = 515
	tcpVPN     = 601
	tcpNet     = 602
	udpApart   = 1514
	relpApart  = 2514
)

// The classes of traffic. apart is the isolated one.
var classes = []string{"main", "apart"}

// Phase is where a server is in its life.
type Phase string

// The phases, in their order. A killed server skips those between serving and killed.
const (
	Starting Phase = "starting"
	Serving  Phase = "serving"
	Draining Phase = "draining"
	Retained Phase = "retained"
	Killed   Phase = "killed"
	Gone     Phase = "gone"
)

// Step is the beginning of a phase.
type Step struct {
	Phase Phase
	At    time.Time
}

// Server is a machine of the fleet: a namespace, a volume, an instance of the group, and a collector.
type Server struct {
	slot     int
	addr     netip.Addr
	ns       *Namespace
	volume   *Volume
	instance *draintest.Instance
	dir      string // holds the volume's mount, the place for volumes to adopt, and the log
	args     []string
	env      []string
	client   *http.Client
	imds     *http.Server
	done     chan struct{} // closed when no process of it runs any more

	mu    sync.Mutex
	pid   int
	pids  []int // of all the processes that have run
	exit  int
	life  []Step
	ended map[string]ledger // by class, from the report or from the volume
}

// ledger is the balance of one spool at its end, as its owner, or the adopter, has written it down.
type ledger struct {
	Spool              string
	Received, Kept     segment.Tally
	Lost               segment.Losses
	Unaccounted        []segment.Unaccounted
	Delivered, Pending map[string]segment.Tally
	Retained           bool
}

// String names the server and its instance, for logs.
func (s *Server) String() string { return fmt.Sprintf("server %d (%s)", s.slot, s.instance.ID()) }

func (s *Server) spool() string { return filepath.Join(s.dir, "volume", "spool") }

// reach records the beginning of a phase.
func (s *Server) reach(p Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.life); n == 0 || s.life[n-1].Phase != p {
		s.life = append(s.life, Step{p, time.Now()})
	}
}

// Life returns the phases so far.
func (s *Server) Life() []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Step(nil), s.life...)
}

func (s *Server) phase() Phase {
	life := s.Life()
	return life[len(life)-1].Phase
}

// serveMetadata answers at the address that every instance of EC2 asks.
func (s *Server) serveMetadata() error {
	const addr = "169.254.169.254"
	if err := batch("ip", "-n", s.ns.name, "addr add "+addr+"/32 dev lo"); err != nil {
		return err
	}
	l, err := s.ns.Listen(addr + ":80")
	if err != nil {
		return err
	}
	s.imds = &http.Server{Handler: s.instance, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.imds.Serve(l) }()
	return nil
}

// serverNice is how far servers stand back: sources and networks outside do not wait for a server that is busy, and here they are on
// its cores.
const serverNice = 14

// start starts the collector and follows its processes: a hand-over replaces one by the next.
func (s *Server) start(program string) error {
	// The name stays and the program changes with an upgrade.
	if err := replaceProgram(s.program(), program); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("nice", append([]string{"-n", strconv.Itoa(serverNice), s.program()}, s.args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, log, log
	if err := s.ns.StartAs(s.instance.ID(), cmd); err != nil {
		return err
	}
	s.done, s.pid, s.pids = make(chan struct{}), cmd.Process.Pid, []int{cmd.Process.Pid}
	s.reach(Starting)
	go s.follow(cmd.Process)
	return nil
}

func (s *Server) program() string { return filepath.Join(s.dir, "collector") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// replaceProgram puts a program in the place of another, which may run.
func replaceProgram(place, program string) error {
	next := place + ".next"
	if err := os.Symlink(program, next); err != nil {
		return err
	}
	return os.Rename(next, place)
}

// started finds the process in a log.
var started = regexp.MustCompile(`msg=collector .*pid=(\d+)`)

// lastPID is the process that has begun the log's last part.
func (s *Server) lastPID() int {
	b, _ := os.ReadFile(s.logFile())
	all := started.FindAllSubmatch(b, -1)
	if len(all) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(string(all[len(all)-1][1]))
	return pid
}

// follow waits for the end of each process. The successor of one becomes a child of this process, the first of its namespace, when
// its parent ends.
func (s *Server) follow(p *os.Process) {
	defer close(s.done)
	for {
		st, err := p.Wait()
		code := -1
		if err == nil {
			code = st.ExitCode()
		}
		pid := s.lastPID()
		s.mu.Lock()
		s.exit = code
		next := code == 0 && pid != 0 && pid != s.pid
		if next {
			s.pid, s.pids = pid, append(s.pids, pid)
		}
		s.mu.Unlock()
		if !next {
			return
		}
		if p, err = os.FindProcess(pid); err != nil {
			return
		}
	}
}

// process returns the running process and how many there have been.
func (s *Server) process() (pid, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid, len(s.pids)
}

// signal sends a signal to the collector.
func (s *Server) signal(sig syscall.Signal) error {
	pid, _ := s.process()
	return syscall.Kill(pid, sig)
}

// wait waits until no process of the server runs, and returns the exit code.
func (s *Server) wait(within time.Duration) (int, error) {
	select {
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.exit, nil
	case <-time.After(within):
		return 0, fmt.Errorf("%v has not ended after %v\n%s", s, within, s.tail(30))
	}
}

// tail is the end of the log.
func (s *Server) tail(lines int) string {
	b, _ := os.ReadFile(s.logFile())
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// get asks the collector for a page.
func (s *Server) get(path string, into any) error {
	resp, err := s.client.Get(fmt.Sprintf("http://%v:%d%s", s.addr, statusPort, path))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// ready waits until the collector receives.
func (s *Server) ready(within time.Duration) error {
	err := until(within, func() error { return s.get("/readyz", nil) })
	if err != nil {
		return fmt.Errorf("%v is not ready: %w\n%s", s, err, s.tail(20))
	}
	return nil
}

// snapshot is what the collector shows.
func (s *Server) snapshot() (*status.Snapshot, error) {
	snap := new(status.Snapshot)
	return snap, s.get("/status.json", snap)
}

// report reads the report of the collector that has ended.
func (s *Server) report() (*drain.Report, error) {
	b, err := os.ReadFile(filepath.Join(s.spool(), "report.json"))
	if err != nil {
		return nil, err
	}
	r := new(drain.Report)
	return r, json.Unmarshal(b, r)
}

// noteReport keeps the balances of the report.
func (s *Server) noteReport() error {
	r, err := s.report()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = map[string]ledger{}
	for class, c := range r.Classes {
		l := ledger{
			Spool: c.Spool, Received: c.Received, Kept: c.Kept, Lost: c.Lost, Unaccounted: c.Unaccounted, Retained: r.Retained,
			Delivered: map[string]segment.Tally{}, Pending: map[string]segment.Tally{},
		}
		for name, d := range c.Destinations {
			l.Delivered[name], l.Pending[name] = d.Delivered, d.Pending
		}
		s.ended[class] = l
	}
	if r.Outcome != drain.Delivered {
		return fmt.Errorf("%v ended as %s\n%s", s, r.Outcome, r.JSON())
	}
	return nil
}

// noteAdopted keeps the balances that the adopter has left on the volume, which is mounted at dir.
func (s *Server) noteAdopted(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = map[string]ledger{}
	for _, class := range classes {
		in, err := spool.Inspect(filepath.Join(dir, "spool", class))
		if err != nil {
			return err
		}
		var mark struct{ Ledger segment.Ledger }
		b, err := os.ReadFile(filepath.Join(dir, "spool", class, "adopted"))
		if err == nil {
			err = json.Unmarshal(b, &mark)
		}
		if err != nil {
			return err
		}
		l := ledger{
			Spool: in.Spool, Received: mark.Ledger.Received, Kept: mark.Ledger.Kept, Lost: mark.Ledger.Lost, Unaccounted: mark.Ledger.Unaccounted,
			Delivered: map[string]segment.Tally{}, Pending: map[string]segment.Tally{},
		}
		for name, d := range mark.Ledger.Destinations {
			l.Delivered[name] = d.Tally
		}
		s.ended[class] = l
	}
	return nil
}

// dialer is an HTTP client that asks from a machine.
func dialer(ns *Namespace) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 5 * time.Second,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) { return ns.Dial(ctx, network, addr) },
	}}
}
