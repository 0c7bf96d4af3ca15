package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/scrub"
	"github.com/penstock-go/penstock/internal/steadylog"
)

// Options configure a Lifecycle. The zero value of every field means its documented default.
type Options struct {
	// Dir is drain.Options.Dir; a warning is logged if it is in an emptyDir. Default: no check.
	Dir string
	// TerminationMessage is the container's terminationMessagePath, to which the summary of the report is written;
	// default /dev/termination-log. A file that does not exist is not created.
	TerminationMessage string
	// Logger; nil discards.
	Logger *slog.Logger
}

// Lifecycle is a drain.Lifecycle, and the handler of its preStop endpoint.
type Lifecycle struct {
	o   Options
	log *slog.Logger

	mu      sync.Mutex
	told    bool // preStop was called
	checked bool
}

var (
	_ drain.Lifecycle = (*Lifecycle)(nil)
	_ http.Handler    = (*Lifecycle)(nil)
)

// New returns a Lifecycle.
func New(o *Options) *Lifecycle {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.TerminationMessage == "" {
		opts.TerminationMessage = "/dev/termination-log"
	}
	opts.Logger = steadylog.Wrap(opts.Logger)
	return &Lifecycle{o: opts, log: opts.Logger}
}

// InCluster reports whether this process runs in a pod.
func InCluster() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

// preStopHeader is the header that PreStop sends. A web page cannot make a browser send a custom header to another site
// without that site's consent (CORS, https://fetch.spec.whatwg.org/#cors-preflight-fetch), which the endpoint never gives.
const preStopHeader = "Penstock-Prestop"

// passedOn are headers that show that a request may come from outside this pod: proxies in the pod add the first ones,
// browsers the last two.
var passedOn = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Origin", "Sec-Fetch-Site"}

// ServeHTTP is the preStop endpoint: a POST from PreStop announces that the pod is being deleted. It answers 403 to
// callers from outside the pod, to requests that a proxy in the pod has forwarded, and to requests that PreStop did not
// send.
func (l *Lifecycle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	foreign := slices.ContainsFunc(passedOn, func(name string) bool { return r.Header.Get(name) != "" })
	switch {
	case err != nil || !from.Addr().Unmap().IsLoopback():
		http.Error(w, "from within the pod only", http.StatusForbidden)
		return
	case r.Method == http.MethodPost && (foreign || r.Header.Get(preStopHeader) == ""):
		http.Error(w, "from the preStop hook of this pod only: it must be an exec of the own binary (collector -prestop)", http.StatusForbidden)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST", http.StatusMethodNotAllowed)
		return
	}
	l.mu.Lock()
	l.told = true
	l.mu.Unlock()
	fmt.Fprintln(w, "ok")
}

// PreStop tells the process whose preStop endpoint is at url, such as http://127.0.0.1:8080/prestop, that its pod is
// being deleted.
func PreStop(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return fmt.Errorf("kube: %w", err)
	}
	r.Header.Set(preStopHeader, "1")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	resp, err := c.Do(r)
	if err != nil {
		return fmt.Errorf("kube: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("kube: %s: %s: %s", url, resp.Status, bytes.TrimSpace(b))
	}
	return nil
}

// PreStopURL returns the url for PreStop of a server that listens on addr, which is as for net.Listen.
func PreStopURL(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("kube: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/prestop", nil
}

// Notice implements drain.Lifecycle: the pod is being deleted once preStop was called.
func (l *Lifecycle) Notice(context.Context) (drain.Notice, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return drain.Notice{Trigger: "preStop"}, l.told, nil
}

// Update implements drain.Lifecycle: it checks once whether the spools are in an emptyDir.
func (l *Lifecycle) Update(context.Context, drain.Status) {
	l.mu.Lock()
	first := !l.checked
	l.checked = true
	l.mu.Unlock()
	if !first || l.o.Dir == "" {
		return
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return // not Linux, so not in a pod
	}
	if onEmptyDir(mounts, l.o.Dir) {
		l.log.Warn("kube: the spools are in an emptyDir, which is deleted with the pod: records that are not delivered by then are lost;"+
			" use a PersistentVolumeClaim, or have a signal drain and give it the grace period that needs", "dir", l.o.Dir)
	}
}

// maxMessage is how many bytes of a termination message the kubelet reads.
const maxMessage = 4096

// Finish implements drain.Lifecycle: `kubectl describe pod` shows the summary for the container.
func (l *Lifecycle) Finish(_ context.Context, r *drain.Report) (retained bool, err error) {
	var summary, b bytes.Buffer
	_ = r.WriteSummary(&summary) // to memory
	for line := range strings.Lines(summary.String()) {
		// Anyone who may read the pod's state can read this, which needs fewer rights than reading its log.
		b.WriteString(scrub.Text(strings.TrimSuffix(line, "\n"), maxMessage) + "\n")
	}
	f, err := os.OpenFile(l.o.TerminationMessage, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("kube: termination message: %w", err)
	}
	_, err = f.WriteString(strings.ToValidUTF8(string(b.Bytes()[:min(b.Len(), maxMessage)]), ""))
	if err = errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("kube: termination message: %w", err)
	}
	return false, nil
}
