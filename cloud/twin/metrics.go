package twin

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/shadow/wire"
)

// metrics have no label without a bound: results are the contract's codes.
type metrics struct {
	changes   *prometheus.CounterVec
	commit    prometheus.Histogram
	conflicts prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	m := &metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gnomon_shadow_changes_total", Help: "Changes of shadows by result: 200 or the code of the rejection.",
		}, []string{"code"}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gnomon_shadow_commit_seconds", Help: "From a change's acceptance to its being durable and published.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 2},
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gnomon_shadow_conflicts_total", Help: "Attempts to commit a change that were lost to another replica.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.changes, m.commit, m.conflicts, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gnomon_shadow_cached", Help: "Shadows kept in memory.",
		}, s.cached), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gnomon_change_set_things", Help: "Things with change-sets that are not over, as far as this process knows.",
		}, func() float64 { return float64(s.lives.count.Load()) }))
	}
	return m
}

// count records a change's result and returns it.
func (m *metrics) count(err error) error {
	code := 200
	if err != nil {
		code, _ = wire.Rejection(err)
	}
	m.changes.WithLabelValues(strconv.Itoa(code)).Inc()
	return err
}

func (s *Service) cached() float64 {
	n := 0
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		n += len(st.ring)
		st.mu.Unlock()
	}
	return float64(n)
}
