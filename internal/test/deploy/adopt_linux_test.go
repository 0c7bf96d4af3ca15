package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// TestAdoptJob: a pod of the StatefulSet dies while its destinations are unavailable. The Job, run with its pod spec on the
// claim that the pod left behind, delivers everything and completes. Both run in a root file system like that of the image,
// with the mounts, the user and the arguments of their pods. There is no kubelet: this test mounts, starts, and repeats the
// startup probe.
func TestAdoptJob(t *testing.T) {
	need(t, "unshare", "setpriv", "chroot", "ip")
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run this test as root")
		}
		t.Skip("only root may mount")
	}
	w := &world{Tree: load(t)}
	prod, err := w.build("prod")
	if err != nil {
		t.Fatal(err)
	}
	adopt, err := w.build("adopt")
	if err != nil {
		t.Fatal(err)
	}
	set, job := prod.pods.Spec.Template.Spec, adopt.job.Spec.Template.Spec
	inNetwork(t)
	k := newKubelet(t)
	group := int(*set.SecurityContext.FSGroup)

	// The destinations are unavailable: nobody may write there.
	k.directory("dest/s3", 0, 0o755)
	k.directory("dest/idc", 0, 0o755)
	pod := k.start("collector-4", set, prod.config)
	k.await(func() bool { return k.get("/readyz") == http200 }, "the pod is ready", pod)
	const records = 100
	c, err := net.Dial("udp", "127.0.0.1:5140")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range records {
		if _, err := fmt.Fprintf(c, "record %d", i); err != nil {
			t.Fatal(err)
		}
	}
	k.await(func() bool { return k.metric("penstock_kept_records_total") == records }, "all records are kept", pod)
	if delivered := k.metric("penstock_delivered_records_total"); delivered > 0 {
		t.Fatalf("%d records were delivered to directories that nobody may write to", delivered)
	}
	pod.kill() // its node is gone

	for _, d := range []string{"dest/s3", "dest/idc"} {
		if err := os.Chown(filepath.Join(k.dir, d), 65532, group); err != nil {
			t.Fatal(err)
		}
	}
	pod = k.start("collector-4", job, adopt.config)
	probe := job.Containers[0].StartupProbe.Exec.Command
	k.await(func() bool { return k.exec(pod, probe) == nil }, "the startup probe succeeds", pod)
	select {
	case <-pod.done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("the Job does not end\n%s", pod.log())
	}
	if code := pod.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("the Job's container ended with %d: it would be repeated\n%s", code, pod.log())
	}
	k.audit(t, pod, records)
}

// audit proves that both destinations have all records, with the image's own auditor.
func (k *kubelet) audit(t *testing.T, c *container, records int) {
	t.Helper()
	out, err := k.command(c, []string{"/audit", "-deep", "-json", "-at", "file:///dest/s3", "-at", "file:///dest/idc"}).CombinedOutput()
	if err != nil {
		t.Fatalf("the audit: %v\n%s", err, out)
	}
	var r struct {
		Verdict string `json:"verdict"`
		Chains  []struct {
			Place   string `json:"place"`
			Final   bool   `json:"final"`
			Records int    `json:"records"`
		} `json:"chains"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Verdict != "complete" || len(r.Chains) != 2 {
		t.Fatalf("%s", out)
	}
	for _, c := range r.Chains {
		if c.Records != records || !c.Final {
			t.Errorf("%+v, want %d records\n%s", c, records, out)
		}
	}
}

// kubelet does what a kubelet does with pods, as far as this test needs it.
type kubelet struct {
	t    *testing.T
	dir  string
	root string // the image
}

const http200 = "200"

func newKubelet(t *testing.T) *kubelet {
	k := &kubelet{t: t, dir: t.TempDir()}
	for d := k.dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) { // the pods' user must reach the volumes
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	k.root = k.directory("image", 0, 0o755)
	cmd := exec.Command("go", "build", "-C", "../../..", "-o", k.root, "./examples/collector", "./examples/audit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return k
}

// directory makes one that belongs to root and a group.
func (k *kubelet) directory(name string, group int, mode os.FileMode) string {
	k.t.Helper()
	path := filepath.Join(k.dir, name)
	if err := errors.Join(os.MkdirAll(path, 0o755), os.Chown(path, 0, group), os.Chmod(path, mode)); err != nil {
		k.t.Fatal(err)
	}
	return path
}

// container is a running one.
type container struct {
	cmd    *exec.Cmd
	spec   corev1.PodSpec
	mounts string // the script that makes them
	done   chan struct{}
	stderr string // a file
}

func (c *container) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

func (c *container) log() string {
	b, _ := os.ReadFile(c.stderr)
	return string(b)
}

// start starts the container of a pod on its claim, with the files of its ConfigMap, in which the destinations are directories.
func (k *kubelet) start(name string, spec corev1.PodSpec, configs map[string]string) *container {
	k.t.Helper()
	ctr := spec.Containers[0]
	group := int(*spec.SecurityContext.FSGroup)
	sources := map[string]string{}
	for _, v := range spec.Volumes {
		switch {
		case v.ConfigMap != nil:
			sources[v.Name] = k.directory("config-"+v.ConfigMap.Name, 0, 0o755)
			if err := os.WriteFile(filepath.Join(sources[v.Name], "collector.yaml"), k.config(configs[v.ConfigMap.Name]), 0o644); err != nil {
				k.t.Fatal(err)
			}
		case v.Secret != nil:
			sources[v.Name] = k.directory("secret-"+v.Secret.SecretName, group, 0o750)
		case v.PersistentVolumeClaim != nil:
			sources[v.Name] = k.directory("claims/"+v.PersistentVolumeClaim.ClaimName, group, 0o775|os.ModeSetgid)
		}
	}
	for _, m := range ctr.VolumeMounts {
		if sources[m.Name] == "" { // the claim of the template
			sources[m.Name] = k.directory("claims/"+m.Name+"-"+name, group, 0o775|os.ModeSetgid)
		}
	}
	var script strings.Builder
	fmt.Fprintf(&script, "mount --bind %[1]s %[1]s\n", k.root)
	mount := func(from, to, option string) {
		to = filepath.Join(k.root, to)
		if err := os.MkdirAll(to, 0o755); err != nil {
			k.t.Fatal(err)
		}
		fmt.Fprintf(&script, "mount --bind %[1]s %[2]s\nmount -o remount,bind,%[3]s %[2]s\n", from, to, option)
	}
	mount(filepath.Join(k.dir, "dest"), "/dest", "rw")
	for _, m := range ctr.VolumeMounts {
		mount(sources[m.Name], m.MountPath, map[bool]string{true: "ro", false: "rw"}[m.ReadOnly])
	}
	if *ctr.SecurityContext.ReadOnlyRootFilesystem {
		fmt.Fprintf(&script, "mount -o remount,bind,ro %s\n", k.root)
	}
	c := &container{spec: spec, mounts: script.String(), done: make(chan struct{}), stderr: filepath.Join(k.dir, name+".log")}
	c.cmd = k.command(c, append([]string{"/collector"}, ctr.Args...))
	log, err := os.OpenFile(c.stderr, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	go func() { defer close(c.done); _ = c.cmd.Wait() }()
	k.t.Cleanup(c.kill)
	return c
}

// command returns a command in the container: in its mounts, as its user, without any capability.
func (k *kubelet) command(c *container, args []string) *exec.Cmd {
	s := c.spec.SecurityContext
	script := "set -eu\n" + c.mounts + fmt.Sprintf("exec setpriv --no-new-privs env -i $(command -v chroot) --userspec=%d:%d --groups=%d %s %s",
		*s.RunAsUser, *s.RunAsGroup, *s.FSGroup, k.root, strings.Join(args, " "))
	return exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
}

// exec runs a command in a container, as an exec probe does.
func (k *kubelet) exec(c *container, args []string) error {
	out, err := k.command(c, args).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// config replaces the destinations, which are in a cloud, and nothing else.
func (k *kubelet) config(text string) []byte {
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil || m["dest"] == nil {
		k.t.Fatalf("%v: %q", err, text)
	}
	for name := range m["dest"].(map[string]any) {
		m["dest"].(map[string]any)[name] = "file:///dest/" + name
	}
	b, err := yaml.Marshal(m)
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

// await waits until something is true of a container that runs.
func (k *kubelet) await(is func() bool, what string, c *container) {
	k.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(time.Minute); ; <-again.C {
		if is() {
			return
		}
		select {
		case <-c.done:
			if is() {
				return
			}
			k.t.Fatalf("%s: the container has ended: %v\n%s", what, c.cmd.ProcessState, c.log())
		default:
		}
		if time.Now().After(end) {
			k.t.Fatalf("not within a minute: %s\n%s", what, c.log())
		}
	}
}

// page asks the container's status page, whose port all pods have.
func (k *kubelet) page(path string) string {
	c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", "127.0.0.1:8080")
	if err != nil {
		return ""
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path)
	b, _ := io.ReadAll(c)
	return string(b)
}

func (k *kubelet) get(path string) string {
	fields := strings.Fields(k.page(path))
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

// metric returns the sum of a metric.
func (k *kubelet) metric(name string) (sum int) {
	for _, m := range regexp.MustCompile(`(?m)^`+name+`\{[^}]*\} (\S+)$`).FindAllStringSubmatch(k.page("/metrics"), -1) {
		f, _ := strconv.ParseFloat(m[1], 64)
		sum += int(f)
	}
	return sum
}

// inNetwork moves this goroutine, and the programs that it starts, into a network of its own, in which the ports of the pods are free.
func inNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
