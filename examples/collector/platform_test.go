package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/ecs"
)

// nowhere removes the environment variables that identify the platform of the tests.
func nowhere(t *testing.T) {
	t.Helper()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, env := range []string{"KUBERNETES_SERVICE_HOST", "ECS_AGENT_URI", "AWS_EXECUTION_ENV", "NOTIFY_SOCKET", "AWS_EC2_METADATA_SERVICE_ENDPOINT"} {
		t.Setenv(env, "")
	}
}

func parse(t *testing.T, args ...string) (*config, error) {
	t.Helper()
	return parseFlags(append([]string{"-spool=/x", "-listen=vpn=udp://:5140", "-dest=a=file:///srv/a"}, args...), io.Discard)
}

// TestPlatform: the environment determines the platform and the defaults that depend on it.
func TestPlatform(t *testing.T) {
	for name, tc := range map[string]struct {
		env   map[string]string
		args  string
		want  string
		term  drain.Intent
		grace time.Duration
	}{
		"bare metal":       {nil, "", "none", drain.Stop, 0},
		"ec2":              {map[string]string{"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}, "", "asg", drain.Stop, 0},
		"a pod on ec2":     {map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}, "", "kube", drain.Drain, 30 * time.Second},
		"a task":           {map[string]string{"ECS_AGENT_URI": "http://169.254.170.2/api/x"}, "", "ecs", drain.Drain, 30 * time.Second},
		"a task, told":     {map[string]string{"ECS_AGENT_URI": "http://169.254.170.2/api/x"}, "-grace=2m -on-term=stop", "ecs", drain.Stop, 2 * time.Minute},
		"a pod, told none": {map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "-lifecycle=none", "none", drain.Stop, 0},
	} {
		t.Run(name, func(t *testing.T) {
			nowhere(t)
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			c, err := parse(t, strings.Fields(tc.args)...)
			if err != nil || c.lifecycle != tc.want || c.onTerm != tc.term || c.grace != tc.grace {
				t.Errorf("%v: %s, on-term %s, grace %v", err, c.lifecycle, c.onTerm, c.grace)
			}
		})
	}
	nowhere(t)
	t.Setenv("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE")
	for args, want := range map[string]string{
		"-lifecycle=ecs -grace=121s":         "2m0s at most",
		"-lifecycle=kube":                    "needs -http",
		"-lifecycle=gce":                     "kube, ecs, asg or none",
		"-lifecycle=none -asg-hook=h":        "asks no group",
		"-lifecycle=none -protect-above=abc": "-protect-above",
	} {
		if _, err := parse(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %q", args, err, want)
		}
	}
}

// TestPreStopFlag: the hook of a pod reaches the collector of that pod.
func TestPreStopFlag(t *testing.T) {
	nowhere(t)
	c, err := parse(t, "-lifecycle=kube", "-http=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all, preStop, err := lifecycles(c, nil)
	if err != nil || preStop == nil {
		t.Fatal(preStop, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/prestop", preStop)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	if code := run([]string{"-prestop", srv.Listener.Addr().String()}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, goes, err := all[len(all)-1].Notice(t.Context()); !goes || err != nil {
		t.Error("the collector was not told", err)
	}
	if code := run([]string{"-prestop", "127.0.0.1:1"}); code != exitFailed {
		t.Errorf("nobody there: exit code %d", code)
	}
}

// TestManifest: the flags in the examples for Kubernetes and ECS exist, and the time that the platform allows is the time on
// which the collector relies, and long enough.
func TestManifest(t *testing.T) {
	nowhere(t)
	read := func(file string) string {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	check := func(file string, args []string, lifecycle string, grace int) {
		t.Helper()
		c, err := parseFlags(args, io.Discard)
		if err != nil || len(args) < 4 || c.lifecycle != lifecycle {
			t.Fatalf("%s: %v, %d arguments", file, err, len(args))
		}
		if c.grace != time.Duration(grace)*time.Second || c.onTerm != drain.Drain {
			t.Errorf("%s: %d s, and the collector reckons with %v to %s", file, grace, c.grace, c.onTerm)
		}
	}

	// The manifest is read with expressions, not with a parser: this module has none for YAML, and should not need one.
	yaml := read("kubernetes.yaml")
	if strings.Contains(yaml, "\t") {
		t.Error("YAML is not indented with tabs")
	}
	var args []string
	for _, m := range regexp.MustCompile(`(?m)^ +- (-\S+)$`).FindAllStringSubmatch(yaml, -1) {
		args = append(args, m[1])
	}
	m := regexp.MustCompile(`(?m)^ +terminationGracePeriodSeconds: (\d+)$`).FindStringSubmatch(yaml)
	if m == nil {
		t.Fatal("no terminationGracePeriodSeconds")
	}
	grace, _ := strconv.Atoi(m[1])
	check("kubernetes.yaml", args, "kube", grace)
	if c, _ := parseFlags(args, io.Discard); c.drainTimeout >= c.grace || c.quiesce*2 > c.drainTimeout {
		t.Errorf("grace %v, a drain %v, silence %v: too little for the drain or for the silence", c.grace, c.drainTimeout, c.quiesce)
	}
	for _, want := range []string{"path: /readyz", "path: /livez", "whenScaled: Retain", "command: [/collector, -prestop=:8080]"} {
		if !strings.Contains(yaml, want) {
			t.Errorf("kubernetes.yaml lacks %s", want)
		}
	}

	var task struct {
		ContainerDefinitions []struct {
			StopTimeout int
			Command     []string
		}
	}
	if err := json.Unmarshal([]byte(read("ecs.json")), &task); err != nil || len(task.ContainerDefinitions) != 1 {
		t.Fatal(err)
	}
	d := task.ContainerDefinitions[0]
	check("ecs.json", d.Command, "ecs", d.StopTimeout)
	if time.Duration(d.StopTimeout)*time.Second > ecs.MaxStopTimeout {
		t.Errorf("stopTimeout %d", d.StopTimeout)
	}
}

// TestSocketTwice: a systemd socket is served only once, whatever its parameters are.
func TestSocketTwice(t *testing.T) {
	nowhere(t)
	const said = "given twice"
	if _, err := parse(t, "-listen=vpn=systemd://x", "-listen=web=systemd://y"); strings.Contains(err.Error(), said) {
		t.Error(err)
	}
	if _, err := parse(t, "-listen=vpn=systemd://x", "-listen=web=systemd://x?max=100"); !strings.Contains(err.Error(), said) {
		t.Error(err)
	}
}
