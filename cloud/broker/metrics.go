package broker

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	refused  *prometheus.CounterVec
	panics   prometheus.Counter
	inFlight int64
}

func newMetrics(reg prometheus.Registerer, b *Broker) *metrics {
	m := &metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gnomon_mqtt_refused_total", Help: "Connections and packets refused, by reason.",
		}, []string{"reason"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gnomon_mqtt_malformed_total", Help: "Connections ended because a packet broke the decoder.",
		}),
	}
	if reg != nil {
		gauge := func(name, help string, f func() float64) prometheus.Collector {
			return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
		}
		reg.MustRegister(m.refused, m.panics,
			gauge("gnomon_mqtt_clients", "Clients connected.", func() float64 { return float64(b.Clients()) }),
			gauge("gnomon_mqtt_dropped", "Messages dropped because a client's queue was full.", func() float64 {
				return float64(atomic.LoadInt64(&b.server.Info.MessagesDropped) + atomic.LoadInt64(&b.server.Info.InflightDropped))
			}),
			gauge("gnomon_mqtt_retained_bytes", "Topics and payloads of retained messages.", func() float64 {
				b.retained.mu.Lock()
				defer b.retained.mu.Unlock()
				return float64(b.retained.used)
			}),
			gauge("gnomon_mqtt_requests_in_flight", "Shadow requests not yet dealt with.", func() float64 {
				return float64(atomic.LoadInt64(&m.inFlight))
			}))
	}
	return m
}
