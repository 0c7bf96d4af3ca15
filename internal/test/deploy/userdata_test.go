package deploy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// TestUserData: what a server is told at its first boot.
func TestUserData(t *testing.T) {
	user := module1 + "user_data.tf"
	template := "aws_launch_template"
	each := func(check func(r resource, c cloudConfig, collector map[string]any) error) func(*world) error {
		return func(w *world) error {
			return w.each(template, func(r resource) error {
				c, err := r.userData()
				if err != nil {
					return err
				}
				collector, err := r.plan.collector(r.key())
				if err != nil {
					return err
				}
				return check(r, c, collector)
			})
		}
	}
	prove(t, []invariant{
		{"user data is a cloud-config that EC2 takes", func(w *world) error {
			return w.each(template, func(r resource) error {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				fmt.Fprint(z, r.str("user_data"))
				z.Close()
				if b.Len() > 12<<10 { // 16 KiB in base64
					return fmt.Errorf("%d bytes", b.Len())
				}
				_, err := r.userData()
				return err
			})
		}, []mutation{
			{user, `"#cloud-config\n"`, `"#cloud-configuration\n"`},
			{user, `    write_files = concat([`, `    write_file = concat([`},
		}},
		{"no secret is in user data", func(w *world) error {
			return w.each(template, func(r resource) error {
				// ARNs name secrets; everything that looks like content does not belong there.
				if m := regexp.MustCompile(`(?i)BEGIN [A-Z ]*KEY|password|AKIA[0-9A-Z]{16}|secret[_-]?access|://[^/@:" ]+:[^/@" ]+@`).FindString(r.str("user_data")); m != "" {
					return fmt.Errorf("it has %q", m)
				}
				return nil
			})
		}, []mutation{
			{prod, `sftp://ingest@idc.example`, `sftp://ingest:hunter2@idc.example`},
			{user, `lifecycle     = "asg"`, "lifecycle     = \"asg\"\n    password = \"x\""},
		}},
		{"secrets are named, with the files in which destinations look for them", each(func(r resource, c cloudConfig, collector map[string]any) error {
			lines := strings.Fields(c.file("/etc/penstock/secrets"))
			for _, param := range []string{"key", "known_hosts"} {
				p, ok := at(collector, "dest.idc."+param).(string)
				if r.plan.environment() == "dev" && !ok {
					continue
				}
				file, found := strings.CutPrefix(p, "/run/penstock/secrets/")
				if !found {
					return fmt.Errorf("%s is %q", param, p)
				}
				i := 0
				for i < len(lines) && lines[i] != file {
					i += 2
				}
				if i >= len(lines) || !strings.HasPrefix(lines[i+1], "arn:aws:") {
					return fmt.Errorf("nothing fetches %s: %v", file, lines)
				}
			}
			return nil
		}), []mutation{
			{user, `secrets_dir = "/run/penstock/secrets"`, `secrets_dir = "/etc/penstock"`},
			{prod, `idc_key         = "arn`, `idc-key         = "arn`},
			{user, `"${f} ${arn}\n"`, `"${arn} ${f}\n"`},
		}},
		{"the spool is on the data volume", each(func(_ resource, _ cloudConfig, collector map[string]any) error {
			if s, _ := collector["spool"].(string); !strings.HasPrefix(s, "/var/lib/penstock/") {
				return fmt.Errorf("%s", s)
			}
			return nil
		}), []mutation{{module1 + "locals.tf", `"/var/lib/penstock"`, `"/var/spool/penstock"`}}},
		{"the platform is the group", each(func(_ resource, _ cloudConfig, collector map[string]any) error {
			if collector["lifecycle"] != "asg" || collector["on-term"] != nil || collector["quiesce"] != nil {
				return fmt.Errorf("%v", collector)
			}
			return nil
		}), []mutation{
			{user, `lifecycle     = "asg"`, `lifecycle     = "none"`},
			{user, `lifecycle     = "asg"`, `lifecycle     = "asg", quiesce = "10s"`},
		}},
		{"a drain may take longer than one heartbeat, and less than the platform allows", each(func(r resource, _ cloudConfig, collector map[string]any) error {
			d, err := time.ParseDuration(fmt.Sprint(collector["drain-timeout"]))
			if err == nil && (d < 2*time.Hour || d > 47*time.Hour) {
				err = fmt.Errorf("drain-timeout %v", d)
			}
			return err
		}), []mutation{
			{module1 + "variables.tf", `"12h"`, `"10m"`},
			{module1 + "variables.tf", `"12h"`, `"72h"`},
			{user, "drain-timeout = g.drain_timeout", ""},
		}},
		{"every server delivers to the bucket in its own region", each(func(r resource, _ cloudConfig, collector map[string]any) error {
			if have := at(collector, "dest.s3"); have != "s3://aws_s3_bucket.this.id/ingest?region=eu-central-1" {
				return fmt.Errorf("%v", have)
			}
			return nil
		}), []mutation{
			{user, `?region=${local.region}`, ``},
			{user, `/${var.delivery.prefix}?`, `?`},
		}},
		{"every server of prod delivers to the IDC too", each(func(r resource, _ cloudConfig, collector map[string]any) error {
			if r.plan.environment() == "prod" && at(collector, "dest.idc.url") != "sftp://ingest@idc.example:22/srv/ingest" {
				return fmt.Errorf("%v", collector["dest"])
			}
			return nil
		}), []mutation{{prod, "    sftp        = {", "    sftpp       = {"}}},
		{"a package is checked before it is installed", each(func(r resource, c cloudConfig, _ map[string]any) error {
			script := strings.Join(c.Runcmd[0], " ")
			get, check, install := strings.Index(script, "aws s3 cp"), strings.Index(script, "sha256sum --check"), strings.Index(script, "dpkg --install")
			if r.plan.environment() == "prod" && (get < 0 || check < get || install < check || !strings.Contains(script, "sh -euc ")) {
				return fmt.Errorf("%s", script)
			}
			return nil
		}), []mutation{
			{user, `    "echo '${var.software.package.sha256}  /run/penstock.package' | sha256sum --check --quiet",` + "\n", ``},
			{user, `"-euc"`, `"-c"`},
		}},
		{"the reaper audits every destination of the collector", each(func(r resource, c cloudConfig, collector map[string]any) error {
			var reaper struct {
				Fleet string
				Apply bool
				At    []string
			}
			if err := yaml.Unmarshal([]byte(c.file("/etc/penstock/reaper.yaml")), &reaper); err != nil {
				return err
			}
			dest, _ := collector["dest"].(map[string]any)
			if reaper.Fleet == "" || !reaper.Apply || len(reaper.At) != len(dest) || !slices.Contains(reaper.At, fmt.Sprint(dest["s3"])) {
				return fmt.Errorf("%+v, the collector delivers to %v", reaper, dest)
			}
			if idc, ok := dest["idc"].(map[string]any); ok && !slices.Contains(reaper.At, fmt.Sprintf("%v?key=%v&known_hosts=%v", idc["url"], idc["key"], idc["known_hosts"])) {
				return fmt.Errorf("%+v, the collector delivers to %v", reaper, dest)
			}
			if script := strings.Join(c.Runcmd[0], " "); !strings.Contains(script, "/aws/penstock-reaper.service") {
				return fmt.Errorf("%s", script)
			}
			return nil
		}), []mutation{
			{user, "    fleet = var.name\n    apply", "    fleet = \"\"\n    apply"},
			{user, "at = concat([local.destinations.s3], var.delivery.sftp", "at = concat([], var.delivery.sftp"},
			{user, "known_hosts=${local.secrets_dir}/idc_known_hosts", "known_hosts=/dev/null"},
			{user, `, "penstock-reaper.service"]`, "]"},
			{user, "    apply = true\n", ""},
		}},
		{"the service starts, at every boot", each(func(r resource, c cloudConfig, _ map[string]any) error {
			if script := strings.Join(c.Runcmd[0], " "); !strings.Contains(script, "systemctl enable --now penstock.service") {
				return fmt.Errorf("%s", script)
			}
			return nil
		}), []mutation{{user, "systemctl enable --now penstock.service", "systemctl start penstock.service"}}},
	})
}
