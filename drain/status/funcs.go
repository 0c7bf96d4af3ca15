package status

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// pageTemplate escapes everything by its context, as html/template does.
var pageTemplate = template.Must(template.New("").Funcs(template.FuncMap{
	"count":     anyCount,
	"bytes":     func(v any) string { return size(number(v)) },
	"persec":    func(v *float64) string { return opt(short, v) },
	"bytesper":  func(v *float64) string { return opt(size, v) },
	"span":      func(v *float64) string { return opt(length, v) },
	"quick":     func(v *float64) string { return opt(quick, v) },
	"seconds":   length,
	"ago":       ago,
	"noago":     func(s string) string { return strings.TrimSuffix(s, " ago") },
	"since":     func(now, t time.Time) string { return length(now.Sub(t).Seconds()) },
	"left":      func(now time.Time, t *time.Time) string { return length(max(0, t.Sub(now).Seconds())) },
	"stamp":     func(t time.Time) string { return t.Format(time.RFC3339) },
	"percent":   percent,
	"bar":       func(part, all any) bar { return newBar(int64(number(part)), int64(number(all))) },
	"destlevel": destLevel,
	"empties":   empties,
	"dropped":   func(l Listener) uint64 { return l.Lost[segment.KernelOverflow].Records },
	"used":      func(d Disk) int64 { return d.Total - d.Free },
	"head":      func(s string) string { return s[:min(len(s), 12)] },
}).Parse(pageHTML))

// number converts any number of a template.
func number(v any) float64 {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	case uint64:
		return float64(n)
	case float64:
		return n
	}
	panic(fmt.Sprintf("status: the page has a %T where it needs a number", v))
}

func anyCount(v any) string {
	switch n := v.(type) {
	case int:
		return count(n)
	case int64:
		return count(n)
	case uint64:
		return count(n)
	}
	panic(fmt.Sprintf("status: the page has a %T where it needs a count", v))
}

// percent formats part as a share of all.
func percent(part, all int64) string {
	if all <= 0 {
		return unknown
	}
	return fmt.Sprintf("%.0f %%", float64(part)/float64(all)*100)
}
