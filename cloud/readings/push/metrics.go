package push

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sent    prometheus.Counter
	dropped *prometheus.CounterVec
	retries prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, p *Push) metrics {
	m := metrics{
		sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gnomon_readings_pushed_total", Help: "Values pushed to the time-series database."}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: "gnomon_readings_push_retries_total", Help: "Requests that had to be sent again."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gnomon_readings_push_dropped_total", Help: "Values not pushed, by reason: full or refused."}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.sent, m.retries, m.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gnomon_readings_push_waiting", Help: "Values that wait to be pushed.",
		}, func() float64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return float64(p.values)
		}))
	}
	return m
}
