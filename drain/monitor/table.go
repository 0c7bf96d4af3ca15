package monitor

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock-go/penstock/spool"
)

// unknown is the value of a metric that is omitted.
var unknown = math.NaN()

// kind is the type of a metric.
type kind int

const (
	counter kind = iota
	gauge
	histogram
)

// family is the metrics of one name.
type family struct {
	desc *prometheus.Desc
	kind kind
}

// families has all families.
var families []*family

// newFamily returns a family; labels are sorted.
func newFamily(k kind, name, help string, labels ...string) *family {
	f := &family{prometheus.NewDesc("penstock_"+name, help, labels, nil), k}
	families = append(families, f)
	return f
}

// row is a metric that exists once per T.
type row[T any] struct {
	*family
	value func(*T) float64
}

// table has the metrics of T.
type table[T any] struct {
	labels []string
	rows   []row[T]
}

func (t *table[T]) add(k kind, name, help string, value func(*T) float64) {
	t.rows = append(t.rows, row[T]{newFamily(k, name, help, t.labels...), value})
}

func (t *table[T]) counter(name, help string, value func(*T) float64) {
	t.add(counter, name, help, value)
}

func (t *table[T]) gauge(name, help string, value func(*T) float64) { t.add(gauge, name, help, value) }

// send exports a T.
func (t *table[T]) send(ch chan<- prometheus.Metric, labels []*dto.LabelPair, of *T) {
	for _, r := range t.rows {
		r.send(ch, r.value(of), labels)
	}
}

// send exports a value, unless it is unknown.
func (f *family) send(ch chan<- prometheus.Metric, v float64, labels []*dto.LabelPair) {
	if !math.IsNaN(v) {
		ch <- &sample{f, labels, v}
	}
}

// sample is a prometheus.Metric. The metrics of client_golang make their own label pairs, which would be half of the cost of
// a scrape: here all samples of one class share them.
type sample struct {
	*family
	labels []*dto.LabelPair
	value  float64
}

// Desc implements prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s *sample) Write(m *dto.Metric) error {
	m.Label = s.labels
	if s.kind == counter {
		m.Counter = &dto.Counter{Value: &s.value}
	} else {
		m.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}

// times is a histogram as a prometheus.Metric.
type times struct {
	*family
	labels []*dto.LabelPair
	from   spool.Latency
}

// sendTimes exports a histogram.
func (f *family) sendTimes(ch chan<- prometheus.Metric, l spool.Latency, labels []*dto.LabelPair) {
	if len(l.Counts) > 0 {
		ch <- &times{f, labels, l}
	}
}

// Desc implements prometheus.Metric.
func (t *times) Desc() *prometheus.Desc { return t.desc }

// Write implements prometheus.Metric.
func (t *times) Write(m *dto.Metric) error {
	h, sum, n := &dto.Histogram{}, t.from.Sum.Seconds(), uint64(0)
	buckets := make([]dto.Bucket, len(t.from.Bounds))
	bounds, counts := make([]float64, len(buckets)), make([]uint64, len(buckets))
	h.Bucket = make([]*dto.Bucket, len(buckets))
	for i := range buckets {
		n += t.from.Counts[i]
		bounds[i], counts[i] = t.from.Bounds[i].Seconds(), n
		buckets[i].UpperBound, buckets[i].CumulativeCount = &bounds[i], &counts[i]
		h.Bucket[i] = &buckets[i]
	}
	n += t.from.Counts[len(buckets)]
	h.SampleSum, h.SampleCount = &sum, &n
	m.Label, m.Histogram = t.labels, h
	return nil
}

// pairs makes label pairs from names and values.
func pairs(names []string, values ...string) []*dto.LabelPair {
	p := make([]*dto.LabelPair, len(names))
	for i := range names {
		p[i] = &dto.LabelPair{Name: &names[i], Value: &values[i]}
	}
	return p
}

// with returns labels with one more label.
func with(labels []*dto.LabelPair, name, value string) []*dto.LabelPair {
	all := append(slices.Clone(labels), &dto.LabelPair{Name: &name, Value: &value})
	slices.SortFunc(all, func(a, b *dto.LabelPair) int { return cmp.Compare(*a.Name, *b.Name) })
	return all
}

// is returns 1 for true, 0 for false.
func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// optional returns the value of a number that may be unknown.
func optional(p *float64) float64 {
	if p == nil {
		return unknown
	}
	return *p
}

// known returns a capacity, or unknown if it is not known.
func known(n int64) float64 {
	if n == 0 {
		return unknown
	}
	return float64(n)
}

// at returns a time of the clock, unknown for nil.
func at(t *time.Time) float64 {
	if t == nil {
		return unknown
	}
	return float64(t.UnixMilli()) / 1000
}
