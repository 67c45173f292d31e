package experiment

import (
	"fmt"
	"io"

	"gnomon/simulator/figures"
)

// MaxStragglers is how many stragglers a report names.
const MaxStragglers = 10

// Report is what an experiment measured.
type Report struct {
	Experiment     string          `json:"experiment"`
	Seed           uint64          `json:"seed"`
	Nodes          int             `json:"nodes"`
	Apps           int             `json:"appsPerNode"`
	Rounds         int             `json:"rounds"`
	Writers        int             `json:"writers"`
	Transport      string          `json:"transport"`
	DelayMeanMs    float64         `json:"applyDelayMeanMs"`
	Delay          string          `json:"applyDelayDistribution"`
	FaultRate      float64         `json:"faultRate"`
	Converged      int             `json:"converged"` // changes that converged, of Changes
	Changes        int             `json:"changes"`   // nodes × applications × rounds
	Verified       int             `json:"verified"`  // shadows read at the end that hold the last change, of nodes × applications
	ConnectSeconds float64         `json:"connectSeconds"`
	Connect        figures.Latency `json:"connect"`     // one node's dial to its SUBACK
	Write          figures.Latency `json:"write"`       // REST request to 200
	Convergence    figures.Latency `json:"convergence"` // 200 to the committed report being seen
	Polled         int             `json:"observedByReading"`
	Traffic        Traffic         `json:"traffic"`
	Reports        int64           `json:"reports"`
	Syncs          int64           `json:"syncs"`
	Reconnects     int64           `json:"reconnects"`
	FailedConnects int64           `json:"failedConnects"`
	Unanswered     int64           `json:"unansweredSyncs"` // connections given up because they reached nobody
	Faults         Faults          `json:"faults"`
	Errors         int64           `json:"errors"` // nodes' and writers'
	Stragglers     []Straggler     `json:"stragglers"`
	Straggling     int             `json:"straggling"` // all of them
	Seconds        float64         `json:"seconds"`
	Cloud          *figures.Usage  `json:"cloud,omitempty"` // of the cloud, when it was started here
	Simulator      *figures.Usage  `json:"simulator,omitempty"`
	Machine        figures.Machine `json:"machine"`
	Version        string          `json:"version,omitempty"`
}

// Traffic is MQTT packets and bytes between nodes and cloud.
type Traffic struct {
	MessagesUp   figures.Spread `json:"messagesUp"`
	MessagesDown figures.Spread `json:"messagesDown"`
	BytesUp      figures.Spread `json:"bytesUp"`
	BytesDown    figures.Spread `json:"bytesDown"`
}

// Faults are those injected.
type Faults struct {
	CutBefore   int64 `json:"cutBeforeReport"`
	CutAfter    int64 `json:"cutAfterReport"`
	FailedApply int64 `json:"failedApply"`
}

// Straggler is an application that did not converge.
type Straggler struct {
	Node string `json:"node"`
	App  string `json:"app,omitempty"`
	Why  string `json:"why"`
}

// OK reports whether every change converged and every shadow was verified.
func (r *Report) OK() bool {
	return r.Converged == r.Changes && r.Verified == r.Nodes*r.Apps && r.Changes > 0
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s "+format+"\n", append([]any{name}, args...)...)
	}
	latency := func(name string, l figures.Latency, of string) {
		line(name, "p50 %.1f ms, p99 %.1f ms, max %.1f ms   %s", l.P50, l.P99, l.Max, of)
	}
	traffic := func(name string, up, down figures.Spread) {
		line(name, "up %d (%.1f a node, at most %d), down %d (%.1f a node, at most %d)", up.Total, up.Mean, up.Max, down.Total, down.Mean, down.Max)
	}
	line("nodes", "%d with %d application(s) each, %d round(s), %s", r.Nodes, r.Apps, r.Rounds, r.Transport)
	line("connect", "all registered in %.2f s; one: p50 %.1f ms, p99 %.1f ms, max %.1f ms", r.ConnectSeconds, r.Connect.P50, r.Connect.P99, r.Connect.Max)
	latency("write", r.Write, fmt.Sprintf("REST request to 200, %d writers", r.Writers))
	latency("convergence", r.Convergence, fmt.Sprintf("200 to committed report, applying included: %.0f ms, %s", r.DelayMeanMs, r.Delay))
	traffic("messages", r.Traffic.MessagesUp, r.Traffic.MessagesDown)
	traffic("bytes", r.Traffic.BytesUp, r.Traffic.BytesDown)
	line("link", "%d reconnects, %d failed connects, %d syncs (%d unanswered), %d reports", r.Reconnects, r.FailedConnects, r.Syncs, r.Unanswered, r.Reports)
	line("faults", "%d cut before a report, %d cut after one, %d failed to apply once; rate %g", r.Faults.CutBefore, r.Faults.CutAfter, r.Faults.FailedApply, r.FaultRate)
	line("errors", "%d", r.Errors)
	if r.Polled > 0 {
		line("observed", "%d by reading, because the event stream broke: their times are upper bounds", r.Polled)
	}
	if r.Cloud != nil {
		line("cloud", "%.2f CPU seconds, peak %.1f MiB", r.Cloud.CPUSeconds, r.Cloud.PeakRSSMiB)
	}
	line("machine", "%d × %s, %.1f %% stolen by the host", r.Machine.CPUs, r.Machine.CPU, r.Machine.StealPercent)
	line("seed", "%d", r.Seed)
	for _, s := range r.Stragglers {
		line("straggler", "%s %s: %s", s.Node, s.App, s.Why)
	}
	if more := r.Straggling - len(r.Stragglers); more > 0 {
		line("straggler", "and %d more", more)
	}
	verdict := "converged"
	if !r.OK() {
		verdict = "NOT CONVERGED"
	}
	line("result", "%s: %d of %d changes reported back, %d of %d shadows verified, %.1f s in all", verdict, r.Converged, r.Changes, r.Verified, r.Nodes*r.Apps, r.Seconds)
}
