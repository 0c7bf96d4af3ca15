package status

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/penstock-go/penstock/drain"
)

// WriteTable writes the snapshot for a terminal. The snapshot may come from another process, so nothing in it can move the
// cursor.
func (s *Snapshot) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s %s, up %s, %s\n\n", Clean(s.Instance), s.verdict(), Clean(s.Build.Program), Clean(s.Build.Version),
		length(s.Time.Sub(s.Started).Seconds()), s.doing())
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CLASS\tSTATE\tRECEIVED/S\tLOST, LAST HOUR\tSPOOL\tFULL IN\tDESTINATION\tSTATE\tPENDING\tOLDEST\tEMPTY IN\tLAST SUCCESS")
	for _, c := range s.Classes {
		v := newView(c, s)
		full := opt(length, c.Spool.UntilFull)
		if c.Spool.Full {
			full = "full now"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s", Clean(c.Class), Clean(v.Word), opt(short, c.Received.Records), count(v.LostNow()),
			percent(c.Spool.Used, c.Spool.Quota), full)
		for i, d := range c.Destinations {
			if i > 0 {
				fmt.Fprint(t, "\t\t\t\t\t")
			}
			fmt.Fprintf(t, "\t%s\t%s\t%s\t%s\t%s\t%s\n", Clean(d.Destination), Clean(string(d.State)), size(float64(d.Pending.Bytes)),
				opt(length, d.Lag), empties(d), ago(s.Time, d.LastSuccess))
		}
		if len(c.Destinations) == 0 {
			fmt.Fprintln(t)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range s.Disks {
		fmt.Fprintf(&b, "\ndisk of %s: ", Clean(strings.Join(d.Classes, ", ")))
		if d.Err != "" {
			fmt.Fprintf(&b, "size unknown: %s", Clean(d.Err))
			continue
		}
		fmt.Fprintf(&b, "%s of %s free", size(float64(d.Free)), size(float64(d.Total)))
		if d.UntilFull != nil {
			fmt.Fprintf(&b, ", full in %s", length(*d.UntilFull))
		}
	}
	for _, a := range s.Adoptions {
		fmt.Fprintf(&b, "\nadopted volume %s, class %s: %s", Clean(a.Dir), cmp.Or(Clean(a.Class), unknown), Clean(a.Why))
	}
	if len(s.Disks)+len(s.Adoptions) > 0 {
		b.WriteByte('\n')
	}
	for _, g := range grouped(s.Trouble) {
		where := strings.Join(g.Classes, ", ")
		if g.Destination != "" {
			where += " → " + g.Destination
		}
		fmt.Fprintf(&b, "\n%-7s  %s\n", Clean(string(g.Level)), strings.TrimPrefix(Clean(where)+": "+Clean(g.What), ": "))
		fmt.Fprintf(&b, "         %s\n", Clean(g.Cure))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict returns the state in words.
func (s *Snapshot) verdict() string {
	errors, warnings := 0, 0
	for _, t := range s.Trouble {
		if t.Level == Error {
			errors++
		} else {
			warnings++
		}
	}
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{errors, "error"}, {warnings, "warning"}} {
		switch {
		case x.n == 1:
			parts = append(parts, "1 "+x.what)
		case x.n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", x.n, x.what))
		}
	}
	if len(parts) == 0 {
		return "all well"
	}
	return strings.Join(parts, ", ")
}

// doing returns whether the service runs, or how far its end is.
func (s *Snapshot) doing() string {
	switch {
	case s.Drain.Phase != drain.PhaseRun:
		text := fmt.Sprintf("%s: %s", cmp.Or(string(s.Drain.Intent), "end"), s.Drain.Phase)
		if s.Drain.Deadline != nil {
			text += ", " + length(max(0, s.Drain.Deadline.Sub(s.Time).Seconds())) + " left"
		}
		return Clean(text)
	case s.NotReady != "":
		return "not ready"
	}
	return "ready"
}
