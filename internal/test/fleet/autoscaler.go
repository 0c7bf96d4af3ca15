//go:build linux

package fleet

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
)

// autoscaler is the group and its API.
type autoscaler struct {
	*draintest.Group
	ns       *Namespace
	endpoint string
	server   *http.Server
}

func newAutoscaler(ns *Namespace, in netip.AddrPort, o *draintest.GroupOptions) (*autoscaler, error) {
	l, err := ns.Listen(in.String())
	if err != nil {
		return nil, err
	}
	g := &autoscaler{Group: draintest.NewGroup(o), ns: ns, endpoint: "http://" + in.String()}
	g.server = &http.Server{Handler: g.Group, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = g.server.Serve(l) }()
	return g, nil
}

// Launch adds a server, and registers it with the balancers: they use it when it is ready.
func (s *Stage) Launch() (*Server, error) {
	s.mu.Lock()
	slot := len(s.servers) + 1
	s.mu.Unlock()
	if slot > most {
		return nil, fmt.Errorf("a stage has at most %d servers", most)
	}
	srv := &Server{
		slot: slot, addr: lan(10 + slot), instance: s.group.Launch(), dir: filepath.Join(stageDir, fmt.Sprint("server-", slot)),
		client: dialer(s.group.ns),
	}
	if err := s.equip(srv); err != nil {
		return nil, fmt.Errorf("%v: %w", srv, err)
	}
	if err := srv.start(s.programs[0]); err != nil {
		return nil, fmt.Errorf("%v: %w", srv, err)
	}
	s.mu.Lock()
	s.servers = append(s.servers, srv)
	s.mu.Unlock()
	for _, b := range s.balancers {
		b.Register(srv.addr)
	}
	if err := s.spray.use(srv.addr, false); err != nil {
		return nil, err
	}
	if err := srv.ready(30 * time.Second); err != nil {
		return nil, err
	}
	srv.reach(Serving)
	return srv, nil
}

// equip gives a server its machine, its volume and its settings.
func (s *Stage) equip(srv *Server) (err error) {
	adopt := filepath.Join(srv.dir, "adopt")
	if err := os.MkdirAll(adopt, 0o755); err != nil {
		return err
	}
	if srv.ns, err = s.net.machine(fmt.Sprint("server-", srv.slot), netip.Addr{}, srv.addr); err != nil {
		return err
	}
	if err := countInput(srv.ns); err != nil {
		return err
	}
	if srv.volume, err = newVolume(s.dev(), fmt.Sprint("vol-", srv.slot), s.VolumeBytes); err != nil {
		return err
	}
	if err := srv.volume.Attach(filepath.Join(srv.dir, "volume")); err != nil {
		return err
	}
	if err := srv.serveMetadata(); err != nil {
		return err
	}
	listen := func(class, scheme string, port int, query string) []string {
		return []string{"-listen", fmt.Sprintf("%s=%s://%v:%d%s", class, scheme, srv.addr, port, query)}
	}
	proxied := "?proxy=on&trust=" + lanPrefix.String()
	srv.args = slices.Concat(
		[]string{"-spool", srv.spool(), "-http", fmt.Sprintf("%v:%d", srv.addr, statusPort), "-dest", "idc=" + s.idc.url, "-dest", "s3=" + s.bucket.url},
		listen("main", "udp", udpVPN, ""), listen("main", "udp", udpNet, ""), listen("main", "tcp", tcpVPN, proxied), listen("main", "tcp", tcpNet, proxied),
		listen("apart", "udp", udpApart, ""), listen("apart", "relp", relpApart, proxied),
		s.Spool,
		[]string{
			"-lifecycle", "asg", "-asg-hook", "drain", "-quiesce", s.Rules.Quiesce.String(),
			"-drain-timeout", s.Rules.Drain.String(), "-adopt", adopt, "-adopt-max-bytes", "64MiB",
		})
	// A server has less than one core: with two, each of ten Go programs looks for work that the others' threads could do.
	srv.env = append(slices.Clone(s.bucket.env), "GOMAXPROCS=1", "PATH="+os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR="+srv.dir, "AWS_ENDPOINT_URL_AUTO_SCALING="+s.group.endpoint)
	return nil
}

// Terminate begins a scale-in: the group announces it, and the balancers stop giving the server new flows.
func (s *Stage) Terminate(srv *Server) error {
	srv.reach(Draining)
	srv.instance.Terminate()
	return s.deregister(srv)
}

// deregister takes a server from all balancers, and from the relay that sends to servers, at the same time: each has many rules to
// load.
func (s *Stage) deregister(srv *Server) error {
	errs := make([]error, len(s.balancers))
	errs = append(errs, s.spray.use(srv.addr, true))
	var wg sync.WaitGroup
	for i, b := range s.balancers {
		wg.Go(func() { errs[i] = b.Deregister(srv.addr) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Finish waits until a server that is terminated has delivered everything, and checks that it has answered the hook before it
// ended. Its volume is deleted.
func (s *Stage) Finish(srv *Server, within time.Duration) error {
	code, err := srv.wait(within)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("%v ended with exit code %d\n%s", srv, code, srv.tail(30))
	}
	if err := srv.noteReport(); err != nil {
		return err
	}
	srv.reach(Gone)
	answer, expired := srv.instance.Answered()
	want := asg.Continue
	if srv.ended["main"].Retained {
		want = asg.Abandon
	}
	if answer != want || expired {
		return fmt.Errorf("%v answered its hook with %q, by a time-out: %v; want %q", srv, answer, expired, want)
	}
	return errors.Join(s.spray.forget(srv.addr), srv.volume.Delete())
}

// Kill ends a server as a power cut does, but for the disk's cache: the processes are gone, and then the machine no longer answers.
func (s *Stage) Kill(srv *Server) error {
	for _, b := range s.balancers {
		if e, ok := b.engine.(*tcpEngine); ok {
			e.doom(srv.addr)
		}
	}
	if err := srv.signal(syscall.SIGKILL); err != nil {
		return err
	}
	srv.reach(Killed)
	if _, err := srv.wait(20 * time.Second); err != nil {
		return err
	}
	_ = srv.imds.Close()
	if err := s.net.cable(srv.ns, "lan", false); err != nil {
		return err
	}
	return srv.volume.Detach()
}
