package fanout

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ received, dropped, failed, missed prometheus.Counter }

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	return &metrics{
		received: counter("gnomon_fanout_received_total", "Notices of other replicas."),
		dropped:  counter("gnomon_fanout_dropped_total", "Messages to other replicas that didn't fit the queue."),
		failed:   counter("gnomon_fanout_failed_total", "Frames to other replicas that could not be sent."),
		missed:   counter("gnomon_fanout_missed_total", "Times that messages of other replicas may have been lost."),
	}
}
