package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/spool"
)

const repairText = `It prints what a start of the service would find wrong and do about it, and, before that, what a start would ask the operator to do where
that loses nothing: give a file of several names a file of its own, copy a segment back from another disk, move an unusable mark away. It
refuses beside a running service.

Nothing is changed without -apply. With it, the plan is made again and carried out; with -plan only if it is still that one. First a copy of
every file that is changed, replaced or removed goes to kept-TIME in the spool's directory, with the plan and checksums. Remove that
directory when the service runs well. A repair that was interrupted can be repeated. It gives up no damage (collector give-up does) and no
destination.

If the files do not say whose spool it is, -identity names a copy of spool.json, or -class and -dest say it.

Examples:
  spoolctl repair /var/spool/penstock/vpn
  spoolctl repair -apply -plan 3f9c0a21b7de /var/spool/penstock/vpn
  spoolctl repair -identity /backup/spool.json /var/spool/penstock/vpn`

func repairCommand() *command {
	c := newCommand("repair", "prints a plan that repairs a spool, and carries it out with -apply", "[-apply [-plan ID]] [-identity FILE] DIR", repairText)
	c.one = true
	apply := c.flags.Bool("apply", false, "carry the plan out")
	id := c.flags.String("plan", "", "carry it out only if it is the plan with this `ID`")
	identity := c.flags.String("identity", "", "`FILE` with a copy of spool.json, for a spool whose files do not say whose it is")
	o := new(spool.RepairOptions)
	c.flags.StringVar(&o.Class, "class", "", "`CLASS` of a spool whose files do not say it")
	c.flags.Func("dest", "`NAME` of a destination of a spool whose files name none; repeatable", func(s string) error {
		o.Destinations = append(o.Destinations, s)
		return nil
	})
	c.do = func(_ context.Context, to *output, dirs []string) (int, error) {
		if *identity != "" {
			b, err := readLimited(*identity, 1<<20)
			if err != nil {
				return 0, err
			}
			o.Identity = b
		}
		o.Logger = slog.New(slog.NewTextHandler(to.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
		p, err := spool.PlanRepair(dirs[0], o)
		if errors.Is(err, spool.ErrLocked) {
			return 0, fmt.Errorf("%w: a repair needs the spool for itself; stop the service first", err)
		}
		if err != nil {
			return 0, err
		}
		r := &repaired{RepairPlan: p, flags: shellFlags(*identity, o)}
		if *apply {
			if *id != "" && *id != p.ID {
				return 0, fmt.Errorf("the plan is %s now, not %s: look at it again without -apply", p.ID, *id)
			}
			if p.Refused == "" {
				if r.Kept, err = p.Apply(); err != nil && r.Kept != "" {
					err = fmt.Errorf("%w (what was replaced is in %s)", err, r.Kept)
				}
				if err != nil {
					return 0, err
				}
				r.Applied = true
			}
		}
		return r.code(), show(to, []*repaired{r}, func(w io.Writer, r *repaired) { r.write(w) })
	}
	return c
}

// readLimited reads a file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// repaired is the result of the command repair.
type repaired struct {
	*spool.RepairPlan
	flags   string // the flags of the plan, quoted for a shell
	Applied bool   `json:"applied"`
	Kept    string `json:"kept,omitempty"` // the directory with the files that were replaced
}

// shellFlags returns the flags that change the plan.
func shellFlags(identity string, o *spool.RepairOptions) (s string) {
	if identity != "" {
		s += " -identity " + quoted(identity)
	}
	if o.Class != "" {
		s += " -class " + quoted(o.Class)
	}
	for _, name := range o.Destinations {
		s += " -dest " + quoted(name)
	}
	return s
}

// dirArg returns a directory as an argument that cannot be mistaken for a flag.
func dirArg(dir string) string {
	if strings.HasPrefix(dir, "-") {
		return "./" + dir
	}
	return dir
}

func (r *repaired) code() int {
	switch {
	case r.Refused != "":
		return exitDamaged
	case r.Needed() && !r.Applied:
		return exitRepair
	}
	return 0
}

func (r *repaired) write(w io.Writer) {
	fmt.Fprintf(w, "%s: class %s, spool %s\n", terminal.Printable(r.Dir), terminal.Printable(r.Class), terminal.Printable(r.Spool))
	for _, f := range r.Findings {
		fmt.Fprintf(w, "  %s: %s\n", f.Level, terminal.Paragraph(f.Text))
	}
	if !r.Needed() {
		fmt.Fprintln(w, "  there is nothing to repair")
		return
	}
	fmt.Fprintf(w, "  plan %s:\n", r.ID)
	for _, x := range r.Changes {
		to := ""
		if x.To != "" {
			to = " to " + x.To
		}
		if !x.Routine {
			fmt.Fprintf(w, "    %-7s %s%s (%s): %s\n", x.What, terminal.Printable(x.Path), terminal.Printable(to), units.Size(x.Size), terminal.Printable(x.Why))
		}
	}
	switch {
	case r.Refused != "":
		fmt.Fprintf(w, "  a start would refuse the spool even then, so that nothing can be done here: %s\n", terminal.Paragraph(r.Refused))
	case r.Applied:
		fmt.Fprintf(w, "  done: the spool holds %s; what was replaced is in %s\n", count(r.Records, "record"), terminal.Printable(r.Kept))
	default:
		fmt.Fprintf(w, "  afterwards the spool holds %s; what is replaced is kept\n  to do this: spoolctl repair -apply -plan %s%s %s\n",
			count(r.Records, "record"), r.ID, r.flags, quoted(dirArg(r.Dir)))
	}
}
