package readings

import (
	"github.com/prometheus/client_golang/prometheus"

	"gnomon/schema/reading"
)

// metrics have no label that nodes can make up.
type metrics struct {
	batches *prometheus.CounterVec
	rows    *prometheus.CounterVec
	values  *prometheus.CounterVec
	old     prometheus.Counter
	seconds prometheus.Histogram
	live    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		batches: counters("gnomon_readings_batches_total", "Batches of readings, by what became of them: accepted, rejected, busy, failed or forbidden.", "outcome"),
		rows:    counters("gnomon_readings_rows_total", "Rows stored, told again or not, by how they were read.", "source"),
		values:  counters("gnomon_readings_values_total", "Values stored, told again or not: good or missing.", "state"),
		old:     prometheus.NewCounter(prometheus.CounterOpts{Name: "gnomon_readings_too_old_total", Help: "Rows left out because they are older than what is kept."}),
		live:    counters("gnomon_readings_live_reads_total", "Live reads, by what became of them.", "outcome"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gnomon_readings_store_seconds", Help: "Time from the arrival of a batch until it is durable.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
	}
	if reg != nil {
		reg.MustRegister(m.batches, m.rows, m.values, m.old, m.live, m.seconds, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gnomon_readings_held_bytes", Help: "Batches on their way to disk, decoded and laid out.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(s.held)
		}))
	}
	return m
}

func (m *metrics) stored(t Told) {
	var rows [reading.Pushed + 1]int
	good, missing := 0, 0
	for i := range t.Batch.Rows {
		r := &t.Batch.Rows[i]
		rows[r.Source]++
		for k := range r.Values {
			switch r.Values[k].State {
			case reading.Good:
				good++
			case reading.Missing:
				missing++
			}
		}
	}
	for source, n := range rows {
		if n > 0 {
			m.rows.WithLabelValues(reading.Source(source).String()).Add(float64(n))
		}
	}
	m.values.WithLabelValues("good").Add(float64(good))
	m.values.WithLabelValues("missing").Add(float64(missing))
}
