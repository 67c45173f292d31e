package external

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	refused     *prometheus.CounterVec
	dropped     prometheus.Counter
	unpublished prometheus.Counter
	connects    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, b *Broker) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	m := &metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gnomon_mqtt_refused_total", Help: "Connections and packets refused, by reason.",
		}, []string{"reason"}),
		dropped:     counter("gnomon_mqtt_publish_dropped_total", "Messages dropped because too many waited for the broker, or it takes none as large."),
		unpublished: counter("gnomon_mqtt_publish_refused_total", "Messages that the broker refused."),
		connects:    counter("gnomon_mqtt_connects_total", "Connections to the broker."),
	}
	if reg != nil {
		reg.MustRegister(m.refused, m.dropped, m.unpublished, m.connects,
			gauge("gnomon_mqtt_connected", "1 while requests are taken from the broker.", func() float64 {
				if b.Ready() == nil {
					return 1
				}
				return 0
			}),
			gauge("gnomon_mqtt_publish_queue", "Messages that wait for the broker.", func() float64 { return float64(b.queue.waiting()) }),
			gauge("gnomon_mqtt_requests_in_flight", "Shadow requests not yet dealt with.", func() float64 { return float64(len(b.room)) }))
	}
	return m
}
