//go:build linux

package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// book is a stage on which the procedures of the runbook are run.
type book struct {
	*Stage
	ops  *Namespace // the operator's machine, in both networks
	bin  string     // the programs, called as the packages call them
	dir  string     // the operator's home
	vars map[string]string
	// srv is the server that a procedure is about.
	srv    *Server
	killed *Volume // waits to be attached elsewhere
}

// newBook adds an operator to a stage.
func newBook(s *Stage) (*book, error) {
	k := &book{Stage: s, bin: s.onDisk("bin"), dir: s.onDisk("operator"), vars: map[string]string{"BUCKET": s.bucket.url, "IDC": s.idc.url, "CLASS": "main"}}
	cmd := exec.Command("go", "build", "-o", k.bin+"/", "./examples/loadgen", "./examples/spoolctl")
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	for _, p := range []string{"collector", "audit", "loadgen", "spoolctl"} {
		if err := os.Symlink(p, filepath.Join(k.bin, "penstock-"+p)); err != nil {
			return nil, err
		}
	}
	// The only command of systemd that procedures give on a server.
	systemctl := "#!/bin/sh\n[ \"$1 $2 $4\" = \"kill --kill-whom=main penstock\" ] || { echo \"the stage has no systemctl $*\" >&2; exit 1; }\n" +
		"exec kill -s \"${3#--signal=SIG}\" \"$(cat " + k.dir + "/.pid)\"\n"
	var err error
	k.ops, err = s.net.machine("ops", wan(100), lan(100))
	return k, errors.Join(err, os.Mkdir(k.dir, 0o755), os.WriteFile(filepath.Join(k.bin, "systemctl"), []byte(systemctl), 0o755))
}

// about makes a server the one that a procedure is about.
func (k *book) about(srv *Server) error {
	k.srv = srv
	var at, ids []string
	for _, s := range k.all() {
		ids = append(ids, s.instance.ID())
		if p := s.phase(); p == Serving {
			at = append(at, netip.AddrPortFrom(s.addr, statusPort).String())
		}
	}
	for name, value := range map[string]string{
		"COLLECTORS": strings.Join(at, " "), "INSTANCES": strings.Join(ids, " "), "INSTANCE": srv.instance.ID(),
		"COLLECTOR": netip.AddrPortFrom(srv.addr, statusPort).String(), "SPOOL": srv.spool(), "UDP": k.front("udp-vpn").addr.String(),
	} {
		k.vars[name] = value
	}
	return k.notePID()
}

// notePID tells the stage's systemctl which process is the server's main one.
func (k *book) notePID() error {
	pid, _ := k.srv.process()
	return os.WriteFile(filepath.Join(k.dir, ".pid"), []byte(fmt.Sprintln(pid)), 0o644)
}

// events are what the stage does where a procedure needs a cloud, or where something happens to it.
var events = map[string]func(*book) error{
	"terminate":  func(k *book) error { return k.Terminate(k.srv) },
	"terminated": func(k *book) error { return k.Finish(k.srv, k.Rules.Drain+time.Minute) },
	"launch":     (*book).launch,
	"next":       (*book).next,
	"new-program": func(k *book) error {
		return replaceProgram(k.srv.program(), k.programs[1])
	},
	"handed-over": func(k *book) error {
		return errors.Join(until(30*time.Second, func() error {
			if _, n := k.srv.process(); n < 2 {
				return fmt.Errorf("no hand-over\n%s", k.srv.tail(20))
			}
			return k.srv.get("/readyz", nil)
		}), k.notePID())
	},
	"lose-object": (*book).loseObject,
	"kill":        (*book).kill,
	"attach":      (*book).attach,
	"lose-volume": (*book).loseVolume,
	"idc-gone":    func(k *book) error { return k.refuse(true) },
	"idc-back":    func(k *book) error { return k.refuse(false) },
	"delivered":   func(k *book) error { return k.delivered(k.srv, "idc", "s3") },
	"retained":    (*book).retained,
	"all-gone":    (*book).allGone,
}

func (k *book) launch() error {
	srv, err := k.Launch()
	if err != nil {
		return err
	}
	n := len(k.in(Serving))
	for _, b := range k.balancers {
		if err := until(20*time.Second, func() error { return usesAll(b, n) }); err != nil {
			return err
		}
	}
	return k.about(srv)
}

// next makes the longest-serving server the one that the procedure is about.
func (k *book) next() error { return k.about(k.in(Serving)[0]) }

// loseObject removes an object of the class from the IDC's disk.
func (k *book) loseObject() error {
	var object string
	err := filepath.WalkDir(k.onDisk("idc/data"), func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "class=main") && strings.HasSuffix(path, ".ndjson.zst") {
			object = path
		}
		return err
	})
	return errors.Join(err, os.Remove(object))
}

// refuse makes the IDC refuse everything, or accept it again.
func (k *book) refuse(on bool) error {
	rules := "table inet away\ndelete table inet away\n"
	if on {
		rules += "table inet away {\n chain in {\n  type filter hook input priority 0; policy accept;\n  tcp dport 22 reject with tcp reset\n }\n}\n"
	}
	return commandIn(k.idc.ns, rules, "nft", "-f", "-")
}

// send sends lines to a server, past the balancers.
func (k *book) send(to *Server, lines int) error {
	out, err := k.script(fmt.Sprintf("penstock-loadgen send -to udp://%v:%d -rate 400 -count %d -quiet", to.addr, udpVPN, lines))
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// kill kills a server that has just received something.
func (k *book) kill() error {
	k.killed = k.srv.volume
	return errors.Join(k.send(k.srv, 400), k.Kill(k.srv), k.deregister(k.srv))
}

// attach attaches the volume of the killed server to the one that serves longest.
func (k *book) attach() error {
	adopter := k.in(Serving)[0]
	k.vars["ORPHAN"] = filepath.Join(adopter.dir, "adopt", k.killed.name, "spool")
	if err := k.killed.Attach(filepath.Dir(k.vars["ORPHAN"])); err != nil {
		return err
	}
	if err := until(time.Minute, func() error { return adopter.adopted(len(classes)) }); err != nil {
		return fmt.Errorf("%w\n%s", err, adopter.tail(20))
	}
	return k.about(adopter)
}

// loseVolume ends a server with its volume, when the IDC has not had its last records yet.
func (k *book) loseVolume() error {
	if err := k.begun(k.srv); err != nil { // only a chain that has begun can be closed
		return err
	}
	if err := errors.Join(k.refuse(true), k.send(k.srv, 400), k.delivered(k.srv, "s3")); err != nil {
		return err
	}
	return errors.Join(k.Kill(k.srv), k.deregister(k.srv), k.srv.volume.Delete(), k.refuse(false))
}

// begun waits until the IDC has the first manifest of each of the server's spools.
func (k *book) begun(srv *Server) error {
	return until(time.Minute, func() error {
		snap, err := srv.snapshot()
		if err != nil {
			return err
		}
		for _, c := range snap.Classes {
			found, err := filepath.Glob(filepath.Join(k.onDisk("idc/data"), "_manifest", c.Class, c.Spool.Spool, "*", "*.jsonl"))
			if err != nil || len(found) == 0 {
				return fmt.Errorf("the IDC has no manifest of %v, class %s: %w", srv, c.Class, err)
			}
		}
		return nil
	})
}

// delivered waits until nothing is pending for the destinations.
func (k *book) delivered(srv *Server, destinations ...string) error {
	return until(time.Minute, func() error {
		snap, err := srv.snapshot()
		if err != nil {
			return err
		}
		for _, c := range snap.Classes {
			for _, d := range c.Destinations {
				for _, name := range destinations {
					if d.Destination == name && d.Pending.Records > 0 {
						return fmt.Errorf("%s lacks %d records of class %s", name, d.Pending.Records, c.Class)
					}
				}
			}
		}
		return nil
	})
}

// retained waits until the group has retained the server.
func (k *book) retained() error {
	return until(k.Rules.Drain+time.Minute, func() error {
		if st := k.srv.instance.State(); st != "Terminating:Retained" {
			return fmt.Errorf("%v is %s\n%s", k.srv, st, k.srv.tail(20))
		}
		k.srv.reach(Retained)
		return nil
	})
}

// allGone takes every server away, as a group does that is to have none.
func (k *book) allGone() error {
	serving := k.in(Serving)
	for _, srv := range serving {
		if err := k.Terminate(srv); err != nil {
			return err
		}
	}
	for _, srv := range serving {
		if err := k.Finish(srv, k.Rules.Drain+time.Minute); err != nil {
			return err
		}
	}
	return nil
}
