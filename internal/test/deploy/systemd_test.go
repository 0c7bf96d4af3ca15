package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const units = "systemd/"

// need skips the test where a program is not installed, except in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", p)
		}
		t.Skipf("%s is not installed", p)
	}
}

// unit has the values of each key, by section and key: unit["Service"]["Type"].
type unit map[string]map[string][]string

func (w *world) unit(path string) unit {
	u, section := unit{}, ""
	for _, l := range strings.Split(w.Tree[units+path], "\n") {
		if strings.HasPrefix(l, "[") {
			section = strings.Trim(l, "[]")
			u[section] = map[string][]string{}
		} else if k, v, ok := strings.Cut(l, "="); ok && !strings.HasPrefix(l, "#") {
			u[section][k] = append(u[section][k], v)
		}
	}
	return u
}

// get returns the only value of SECTION.KEY.
func (u unit) get(name string) string {
	section, key, _ := strings.Cut(name, ".")
	if v := u[section][key]; len(v) == 1 {
		return v[0]
	}
	return ""
}

func (u unit) want(name, want string) error {
	if have := u.get(name); have != want {
		return fmt.Errorf("%s=%s, want %s", name, have, want)
	}
	return nil
}

func (u unit) seconds(name string) time.Duration {
	v := strings.NewReplacer("min", "m").Replace(u.get(name))
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(n) * time.Second
	}
	d, _ := time.ParseDuration(v)
	return d
}

func set1(path, name, want string) func(*world) error {
	return func(w *world) error { return w.unit(path).want(name, want) }
}

// TestUnits: what the units promise the collector and the platform.
func TestUnits(t *testing.T) {
	service, volume, mount, secrets := "penstock.service", "aws/penstock-volume.service", "aws/var-lib-penstock.mount", "aws/penstock-secrets.service"
	reaper, mounter := "aws/penstock-reaper.service", "aws/penstock-mount@.service"
	prove(t, []invariant{
		{"the service reports its state", set1(service, "Service.Type", "notify"), []mutation{{units + service, "Type=notify", "Type=exec"}}},
		{"a stop that keeps records is no failure", set1(service, "Service.SuccessExitStatus", "3"), []mutation{
			{units + service, "SuccessExitStatus=3", "SuccessExitStatus=3 4 5"},
		}},
		{"the service is started again without end", func(w *world) error {
			u := w.unit(service)
			if err := u.want("Service.Restart", "on-failure"); err != nil {
				return err
			}
			if u["Service"]["RestartPreventExitStatus"] != nil {
				return fmt.Errorf("an exit code ends it")
			}
			return u.want("Unit.StartLimitIntervalSec", "0")
		}, []mutation{
			{units + service, "Restart=on-failure", "Restart=no"},
			{units + service, "StartLimitIntervalSec=0", ""},
			{units + service, "Restart=on-failure", "Restart=on-failure\nRestartPreventExitStatus=2"},
		}},
		{"a stop waits for longer than the collector's requests last", func(w *world) error {
			text, err := os.ReadFile("../../../drain/systemd.go")
			if err != nil {
				return err
			}
			m := regexp.MustCompile(`extendBy\s*= (\d+) \* time.Second`).FindSubmatch(text)
			if m == nil {
				return fmt.Errorf("drain/systemd.go has no extendBy")
			}
			by, _ := strconv.Atoi(string(m[1]))
			if d := w.unit(service).seconds("Service.TimeoutStopSec"); d < time.Duration(by)*time.Second {
				return fmt.Errorf("TimeoutStopSec is %v, and the collector asks for %ds more", d, by)
			}
			return nil
		}, []mutation{
			{units + service, "TimeoutStopSec=120s", "TimeoutStopSec=10s"},
			{units + service, "TimeoutStopSec=120s", ""},
		}},
		{"the watchdog leaves a minute or more", func(w *world) error {
			if d := w.unit(service).seconds("Service.WatchdogSec"); d < time.Minute || d > 5*time.Minute {
				return fmt.Errorf("WatchdogSec is %v", d)
			}
			return nil
		}, []mutation{
			{units + service, "WatchdogSec=2min", "WatchdogSec=10s"},
			{units + service, "WatchdogSec=2min", ""},
		}},
		{"a start has time to recover", func(w *world) error {
			if d := w.unit(service).seconds("Service.TimeoutStartSec"); d < 5*time.Minute {
				return fmt.Errorf("TimeoutStartSec is %v", d)
			}
			return nil
		}, []mutation{{units + service, "TimeoutStartSec=15min", "TimeoutStartSec=90s"}}},
		{"there are descriptors for many connections", func(w *world) error {
			if n, _ := strconv.Atoi(w.unit(service).get("Service.LimitNOFILE")); n < 100000 {
				return fmt.Errorf("LimitNOFILE is %d", n)
			}
			return nil
		}, []mutation{{units + service, "LimitNOFILE=1048576", "LimitNOFILE=1024"}}},
		{"the user may enlarge receive buffers and nothing more", func(w *world) error {
			u := w.unit(service)
			for name, want := range map[string]string{
				"Service.User": "penstock", "Service.AmbientCapabilities": "CAP_NET_ADMIN", "Service.CapabilityBoundingSet": "CAP_NET_ADMIN",
				"Service.NoNewPrivileges": "yes", "Service.PrivateUsers": "",
			} {
				if err := u.want(name, want); err != nil {
					return err
				}
			}
			return nil
		}, []mutation{
			{units + service, "User=penstock", "User=root"},
			{units + service, "AmbientCapabilities=CAP_NET_ADMIN", "AmbientCapabilities=CAP_NET_ADMIN CAP_SYS_ADMIN"},
			{units + service, "ProtectHostname=yes", "ProtectHostname=yes\nPrivateUsers=yes"},
		}},
		{"the kernel's reasons for drops can be read", set1(service, "Service.ProcSubset", ""), []mutation{
			{units + service, "ProtectProc=invisible", "ProtectProc=invisible\nProcSubset=pid"},
		}},
		{"only the spool and the orphans can be written", func(w *world) error {
			u := w.unit(service)
			if u["Service"]["ReadWritePaths"] != nil {
				return fmt.Errorf("more can be written")
			}
			return u.want("Service.ProtectSystem", "strict")
		}, []mutation{
			{units + service, "ProtectSystem=strict", "ProtectSystem=full"},
			{units + service, "ProtectSystem=strict", "ProtectSystem=strict\nReadWritePaths=/"},
		}},
		{"the directories are those of the configuration", func(w *world) error {
			state := strings.Fields(w.unit(service).get("Service.StateDirectory"))
			return w.each("aws_launch_template", func(r resource) error {
				c, err := r.plan.collector(r.key())
				if err != nil {
					return err
				}
				for _, dir := range []any{c["spool"], at(c, "adopt.0")} {
					if d, ok := strings.CutPrefix(fmt.Sprint(dir), "/var/lib/"); !ok || !slices.Contains(state, d) {
						return fmt.Errorf("%v is not in StateDirectory=%v", dir, state)
					}
				}
				return nil
			})
		}, []mutation{
			{units + service, "StateDirectory=penstock/spool penstock/orphans", "StateDirectory=penstock/spool"},
			{module1 + "user_data.tf", `"${local.mount}/spool"`, `"${local.mount}/spools"`},
		}},
		{"the service reads the file that user data writes", func(w *world) error {
			_, file, _ := strings.Cut(w.unit(service).get("Service.ExecStart"), "-config ")
			return w.each("aws_launch_template", func(r resource) error {
				if c, err := r.userData(); err != nil || c.file(file) == "" {
					return fmt.Errorf("user data does not write %q: %v", file, err)
				}
				return nil
			})
		}, []mutation{{units + service, "/etc/penstock/collector.yaml", "/etc/penstock/collector.yml"}}},
		{"a reload is a SIGHUP", set1(service, "Service.ExecReload", "/bin/kill -HUP $MAINPID"), []mutation{{units + service, "kill -HUP", "kill -TERM"}}},
		{"the successor may take over the unit", set1(service, "Service.NotifyAccess", "main"), []mutation{{units + service, "NotifyAccess=main", "NotifyAccess=none"}}},
		{"without its volume the collector does not start", func(w *world) error {
			m, v := w.unit(mount), w.unit(volume)
			for name, want := range map[string]string{"Install.RequiredBy": "penstock.service", "Unit.Requires": "penstock-volume.service", "Unit.After": "penstock-volume.service"} {
				if err := m.want(name, want); err != nil {
					return err
				}
			}
			if !slices.Contains(strings.Fields(m.get("Unit.Before")), "penstock.service") {
				return fmt.Errorf("the mount may come later")
			}
			for name, want := range map[string]string{"Install.RequiredBy": "var-lib-penstock.mount", "Unit.BindsTo": "dev-penstock-data.device", "Unit.After": "dev-penstock-data.device"} {
				if err := v.want(name, want); err != nil {
					return err
				}
			}
			return nil
		}, []mutation{
			{units + mount, "RequiredBy=penstock.service", "WantedBy=penstock.service"},
			{units + mount, "Requires=penstock-volume.service", "Wants=penstock-volume.service"},
			{units + mount, "Before=penstock.service", ""},
			{units + volume, "After=dev-penstock-data.device", ""},
		}},
		{"the volume that is prepared is the one that is mounted", func(w *world) error {
			_, device, _ := strings.Cut(w.unit(volume).get("Service.ExecStart"), "prepare-volume ")
			if err := w.unit(mount).want("Mount.What", device); err != nil {
				return err
			}
			if rules := w.Tree[units+"aws/60-penstock-ebs.rules"]; strings.Count(rules, `SYMLINK+="`+strings.TrimPrefix(device, "/dev/")+`"`) != 2 {
				return fmt.Errorf("udev does not make %s", device)
			}
			if err := w.unit(mount).want("Mount.Type", "auto"); err != nil { // it may be another instance's
				return err
			}
			return w.unit(mount).want("Mount.Where", "/var/lib/penstock")
		}, []mutation{
			{units + mount, "What=/dev/penstock/data", "What=/dev/nvme1n1"},
			{units + mount, "Type=auto", "Type=ext4"},
			{units + volume, "prepare-volume /dev/penstock/data", "prepare-volume /dev/nvme1n1"},
			{units + "aws/60-penstock-ebs.rules", `RESULT=="sdf", SYMLINK+="penstock/data"`, `RESULT=="sdf", SYMLINK+="penstock"`},
		}},
		{"udev knows the volume by the name of the launch template", func(w *world) error {
			return w.each("aws_launch_template", func(r resource) error {
				name := strings.TrimPrefix(r.str("block_device_mappings.0.device_name"), "/dev/")
				if !strings.Contains(w.Tree[units+"aws/60-penstock-ebs.rules"], `RESULT=="`+name+`"`) {
					return fmt.Errorf("udev does not look for %s", name)
				}
				return nil
			})
		}, []mutation{
			{units + "aws/60-penstock-ebs.rules", `RESULT=="sdf"`, `RESULT=="sdh"`},
			{module1 + "locals.tf", `"/dev/sdf"`, `"/dev/sdh"`},
		}},
		{"secrets are the user's, and stay while the collector runs", func(w *world) error {
			s := w.unit(secrets)
			for name, want := range map[string]string{
				"Service.User": "penstock", "Service.RuntimeDirectoryMode": "0700", "Service.RuntimeDirectoryPreserve": "yes", "Service.RemainAfterExit": "yes",
				"Service.UMask": "0077", "Service.Restart": "on-failure", "Unit.Before": "penstock.service", "Install.WantedBy": "penstock.service",
			} {
				if err := s.want(name, want); err != nil {
					return err
				}
			}
			args := strings.Fields(s.get("Service.ExecStart"))
			return w.each("aws_launch_template", func(r resource) error {
				c, err := r.userData()
				if err == nil && c.file(args[1]) == "" && r.plan.environment() == "prod" {
					err = fmt.Errorf("user data does not write %s", args[1])
				}
				if args[2] != "/run/"+s.get("Service.RuntimeDirectory") {
					err = fmt.Errorf("the files go to %s", args[2])
				}
				return err
			})
		}, []mutation{
			{units + secrets, "RuntimeDirectoryMode=0700", "RuntimeDirectoryMode=0755"},
			{units + secrets, "RuntimeDirectoryPreserve=yes", ""},
			{units + secrets, "Before=penstock.service", ""},
			{units + secrets, "RuntimeDirectory=penstock/secrets", "RuntimeDirectory=penstock"},
			{units + secrets, "fetch-secrets /etc/penstock/secrets", "fetch-secrets /etc/penstock/list"},
		}},
		{"user data enables every unit of the volume and the secrets, before it starts the service", func(w *world) error {
			return w.each("aws_launch_template", func(r resource) error {
				c, err := r.userData()
				if err != nil {
					return err
				}
				script := c.Runcmd[0][2]
				start := strings.Index(script, "enable --now penstock.service")
				for _, p := range w.Under("systemd/aws", "") {
					if name := filepath.Base(p); (strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".mount")) && !strings.Contains(name, "@") {
						if i := strings.Index(script, "/usr/lib/penstock/aws/"+name); i < 0 || i > start {
							return fmt.Errorf("%s", name)
						}
					}
				}
				if i := strings.Index(script, "udevadm trigger --settle"); i < 0 || i > start {
					return fmt.Errorf("udev may not know the volume")
				}
				return nil
			})
		}, []mutation{
			{module1 + "user_data.tf", `"var-lib-penstock.mount", `, ``},
			{module1 + "user_data.tf", `      "udevadm trigger --settle --subsystem-match=block",` + "\n", ""},
		}},
		{"the reaper is the collector's user, and has no privilege", func(w *world) error {
			u, s := w.unit(reaper), w.unit(service)
			for name, want := range map[string]string{
				"Service.User": s.get("Service.User"), "Service.Group": s.get("Service.Group"), "Service.CapabilityBoundingSet": "", "Service.AmbientCapabilities": "",
				"Service.NoNewPrivileges": "yes", "Service.ProtectSystem": "strict", "Service.DevicePolicy": "closed", "Service.DeviceAllow": "block-blkext r",
				"Service.SupplementaryGroups": "disk", "Service.StateDirectory": "penstock/orphans", "Unit.Requires": "penstock-mount.socket",
			} {
				if err := u.want(name, want); err != nil {
					return err
				}
			}
			if u["Service"]["CapabilityBoundingSet"] == nil {
				return fmt.Errorf("no capability is dropped")
			}
			return nil
		}, []mutation{
			{units + reaper, "User=penstock", "User=root"},
			{units + reaper, "CapabilityBoundingSet=\n", "CapabilityBoundingSet=CAP_SYS_ADMIN\n"},
			{units + reaper, "CapabilityBoundingSet=\n", ""},
			{units + reaper, "DeviceAllow=block-blkext r", "DeviceAllow=block-blkext rw"},
			{units + reaper, "Requires=penstock-mount.socket", ""},
			{units + reaper, "StateDirectory=penstock/orphans", ""},
		}},
		{"the mount service mounts where the collector sees it, and can do little else", func(w *world) error {
			u := w.unit(mounter)
			for name, want := range map[string]string{
				"Service.User": "penstock-mount", "Service.Group": w.unit(service).get("Service.Group"), "Service.CapabilityBoundingSet": "CAP_SYS_ADMIN",
				"Service.AmbientCapabilities": "CAP_SYS_ADMIN", "Service.PrivateMounts": "no", "Service.StandardInput": "socket", "Service.PrivateNetwork": "yes",
				"Service.RestrictAddressFamilies": "none", "Service.NoNewPrivileges": "yes", "Service.DeviceAllow": "block-blkext r",
			} {
				if err := u.want(name, want); err != nil {
					return err
				}
			}
			for name := range u["Service"] { // each of them makes a mount namespace, whose mounts nobody else sees
				if regexp.MustCompile(`^(Protect(System|Home|Proc|Kernel\w+|ControlGroups)|Private(Tmp|Devices|IPC|Users)|ProcSubset|MountFlags|(Read|Bind|Inaccessible|TemporaryFile|Exec)\w*(Paths|System)|Root\w+|DynamicUser|\w+Directory)$`).MatchString(name) {
					return fmt.Errorf("%s hides its mounts", name)
				}
			}
			if !strings.Contains(w.Tree[units+"sysusers.conf"], "\nu "+u.get("Service.User")+" ") {
				return fmt.Errorf("nobody makes its user")
			}
			return nil
		}, []mutation{
			{units + mounter, "PrivateMounts=no", ""},
			{units + mounter, "RemoveIPC=yes", "RemoveIPC=yes\nProtectSystem=strict"},
			{units + mounter, "RemoveIPC=yes", "RemoveIPC=yes\nPrivateTmp=yes"},
			{units + mounter, "CapabilityBoundingSet=CAP_SYS_ADMIN", "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_OVERRIDE"},
			{units + mounter, "Group=penstock", ""},
			{units + "sysusers.conf", "u penstock-mount -", "u penstock-mounts -"},
		}},
		{"only the collector's group asks the mount service, for the directory that the collector adopts", func(w *world) error {
			u := w.unit("aws/penstock-mount.socket")
			for name, want := range map[string]string{
				"Socket.SocketGroup": w.unit(reaper).get("Service.Group"), "Socket.SocketMode": "0660", "Socket.Accept": "yes", "Socket.SocketUser": "", "Socket.ListenStream": "/run/penstock-mount.sock",
			} {
				if err := u.want(name, want); err != nil {
					return err
				}
			}
			args := strings.Fields(w.unit(mounter).get("Service.ExecStart"))
			if !strings.Contains(w.Tree["packages/nfpm.yaml"], "dst: "+args[0]+",") {
				return fmt.Errorf("no package brings %s", args[0])
			}
			for _, name := range []string{"penstock-mount.socket", "penstock-mount@.service"} {
				if !strings.Contains(w.Tree["packages/nfpm.yaml"], "dst: /usr/lib/systemd/system/"+name+"}") {
					return fmt.Errorf("no package brings %s", name)
				}
			}
			return w.each("aws_launch_template", func(r resource) error {
				c, err := r.plan.collector(r.key())
				if err == nil && at(c, "adopt.0") != args[1] {
					err = fmt.Errorf("it mounts below %s, and the collector adopts %v", args[1], c["adopt"])
				}
				return err
			})
		}, []mutation{
			{units + "aws/penstock-mount.socket", "SocketMode=0660", "SocketMode=0666"},
			{units + "aws/penstock-mount.socket", "SocketGroup=penstock", ""},
			{units + "aws/penstock-mount.socket", "/run/penstock-mount.sock", "/run/penstock/mount.sock"},
			{units + mounter, "/var/lib/penstock/orphans", "/var/lib/penstock/volumes"},
			{"packages/nfpm.yaml", "dst: /usr/lib/penstock/aws/mount,", "dst: /usr/lib/penstock/mount,"},
		}},
		{"buffers hold what the collector requests", func(w *world) error {
			m := regexp.MustCompile(`(?m)^net\.core\.rmem_max = (\d+)$`).FindStringSubmatch(w.Tree[units+"sysctl.conf"])
			if m == nil {
				return fmt.Errorf("rmem_max is not set")
			}
			if n, _ := strconv.Atoi(m[1]); n < 64<<20 {
				return fmt.Errorf("rmem_max is %d", n)
			}
			return nil
		}, []mutation{
			{units + "sysctl.conf", "67108864", "6710886"},
			{units + "sysctl.conf", "net.core.rmem_max =", "#net.core.rmem_max ="},
		}},
		{"the user exists", func(w *world) error {
			if want := "u " + w.unit(service).get("Service.User") + " "; !strings.Contains(w.Tree[units+"sysusers.conf"], "\n"+want) {
				return fmt.Errorf("no line %q", want)
			}
			return nil
		}, []mutation{{units + "sysusers.conf", "u penstock -", "u collector -"}}},
	})
}

// TestSystemdAnalyze: systemd itself has nothing to say about the units, except when something is wrong, and finds them hardened.
func TestSystemdAnalyze(t *testing.T) {
	need(t, "systemd-analyze")
	root, tree := t.TempDir(), load(t)
	system := filepath.Join(root, "etc/systemd/system")
	for _, dir := range []string{system, root + "/usr/lib/systemd", root + "/usr/bin", root + "/bin", root + "/usr/lib/penstock/aws"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("cp", "-r", "/usr/lib/systemd/system", root+"/usr/lib/systemd/").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, program := range []string{"/usr/bin/penstock-collector", "/usr/bin/penstock-reaper", "/usr/bin/penstock-udprelay", "/usr/lib/systemd/systemd-sysctl", "/bin/kill", "/usr/lib/penstock/aws/prepare-volume", "/usr/lib/penstock/aws/fetch-secrets", "/usr/lib/penstock/aws/mount"} {
		if err := os.WriteFile(root+program, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) string {
		p := filepath.Join(system, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var files []string
	for _, p := range tree.Under("systemd", "") {
		if name := filepath.Base(p); strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".mount") || strings.HasSuffix(name, ".socket") {
			files = append(files, write(name, tree[p]))
		}
	}
	verify := func() string {
		out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--root=" + root}, files...)...).CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := verify(); out != "" {
		t.Errorf("verify: %s", out)
	}
	// The mount service mounts for other processes, so it cannot use settings that create a mount namespace, and its score is
	// worse.
	for name, threshold := range map[string]string{"penstock.service": "25", "penstock-secrets.service": "25", "penstock-udprelay.service": "25", "penstock-reaper.service": "25", "penstock-mount@.service": "26"} {
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--root="+root, "--threshold="+threshold, name).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	text := tree[units+"penstock.service"]
	write("penstock.service", strings.Replace(text, "LimitNOFILE", "LimitNOFILES", 1))
	if out := verify(); !strings.Contains(out, "LimitNOFILES") {
		t.Errorf("verify does not notice an unknown key: %q", out)
	}
	write("penstock.service", strings.NewReplacer("SystemCallFilter", "#SystemCallFilter", "ProtectSystem", "#ProtectSystem").Replace(text))
	if err := exec.Command("systemd-analyze", "security", "--offline=true", "--root="+root, "--threshold=25", "penstock.service").Run(); err == nil {
		t.Error("security does not notice a unit without filters")
	}
}
