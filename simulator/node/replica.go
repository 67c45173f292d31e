package node

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
	"gnomon/simulator/mqtt"
)

// errCut is the loss of a connection that was injected on purpose.
var errCut = errors.New("connection cut on purpose")

// replica is what a node holds of one of its shadows.
type replica struct {
	desired        *shadow.Value
	desiredVersion uint64
	reported       *shadow.Value // what the cloud shall hold
	acked          *shadow.Value // what the cloud is known to hold
	flight         *flight       // the report on its way
	full           bool          // the next report replaces all of reported
	held           bool          // refused: nothing is sent before the next sync
	phase          string
	timer          *time.Timer // applies desired
}

// flight is one unanswered report.
type flight struct {
	token    string
	reported *shadow.Value
}

// take makes desired what the node works towards; n.mu is held.
func (n *Node) take(name string, desired *shadow.Value, version uint64) {
	if !typed(name) {
		return
	}
	r := n.replicas[name]
	if r == nil {
		if len(n.replicas) >= MaxShadows {
			n.Counters.Errors.Add(1)
			n.problem = fmt.Errorf("shadow %q left alone: %d shadows are held, the limit is %d", name, len(n.replicas), MaxShadows)
			return
		}
		r = new(replica)
		n.replicas[name] = r
	}
	r.desired, r.desiredVersion = desired, version
	if name == "" {
		n.describe() // nothing to apply: a light node acts on no setting
		return
	}
	n.applyAfter(name, r, n.cfg.Delay(n.random), false)
}

// applyAfter applies r's desired state after d; what was to be applied before is
// superseded. A retry does not fail again.
func (n *Node) applyAfter(name string, r *replica, d time.Duration, retry bool) {
	if r.timer != nil {
		r.timer.Stop()
	}
	version := r.desiredVersion
	r.timer = time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.ended || n.replicas[name] != r || r.desiredVersion != version {
			return
		}
		if !retry && n.random.Float64() < n.cfg.FaultRate/3 {
			n.Counters.FailedApply.Add(1)
			n.failed(r)
			n.applyAfter(name, r, n.cfg.Delay(n.random), true)
		} else {
			n.applied(name, r)
		}
		n.describe()
		if err := n.flush(); err != nil && n.conn != nil {
			_ = n.conn.Close() // its reader finds out and reconnects
		}
	})
}

// applied reports desired as done: its members verbatim, and the status.
func (n *Node) applied(name string, r *replica) {
	switch {
	case r.desired == nil || r.desired.Get("state").Text() == string(schema.StateStopped):
		r.phase = "stopped"
	case strings.HasPrefix(name, schema.PolicyPrefix):
		r.phase = "collecting"
	default:
		r.phase = "running"
	}
	r.reported = shadow.Merge(r.desired, shadow.NewObject(
		shadow.Member{Key: "phase", Value: shadow.Text(r.phase)},
		shadow.Member{Key: "observedVersion", Value: shadow.Uint(r.desiredVersion)},
		shadow.Member{Key: "startedAt", Value: now()},
		shadow.Member{Key: "restarts", Value: shadow.Int(0)},
	), 0)
}

// failed reports a failure that a retry will mend. The members of desired stay
// as they were reported, because they are not applied.
func (n *Node) failed(r *replica) {
	r.phase = "backoff"
	r.reported = shadow.Merge(r.reported, shadow.NewObject(
		shadow.Member{Key: "phase", Value: shadow.Text(r.phase)},
		shadow.Member{Key: "error", Value: shadow.NewObject(
			shadow.Member{Key: "code", Value: shadow.Text("simulated")},
			shadow.Member{Key: "message", Value: shadow.Text("failed on purpose by the simulator; retried")},
			shadow.Member{Key: "retryable", Value: shadow.Flag(true)},
			shadow.Member{Key: "at", Value: now()},
		)},
	), 0)
}

func now() *shadow.Value { return shadow.Text(time.Now().UTC().Format(time.RFC3339)) }

// drop forgets a shadow that was deleted.
func (n *Node) drop(name string) {
	r := n.replicas[name]
	switch {
	case r == nil:
		return
	case name == "": // the node itself goes on
		*r = replica{}
	default:
		if r.timer != nil {
			r.timer.Stop()
		}
		delete(n.replicas, name)
	}
	n.describe()
}

// describe brings the report of the node itself up to date; n.mu is held.
func (n *Node) describe() {
	var applications, policies []shadow.Member
	for name, r := range n.replicas {
		if r.phase == "" {
			continue
		}
		phase := shadow.Text(r.phase)
		if app, ok := strings.CutPrefix(name, schema.AppPrefix); ok {
			applications = append(applications, shadow.Member{Key: app, Value: phase})
		} else if policy, ok := strings.CutPrefix(name, schema.PolicyPrefix); ok {
			policies = append(policies, shadow.Member{Key: policy, Value: phase})
		}
	}
	r := n.replicas[""]
	status := shadow.NewObject(shadow.Member{Key: "node", Value: shadow.NewObject(
		shadow.Member{Key: "agent", Value: shadow.NewObject(shadow.Member{Key: "version", Value: shadow.Text(n.cfg.Agent)})},
		shadow.Member{Key: "bootEpoch", Value: shadow.Uint(n.cfg.BootEpoch)},
		shadow.Member{Key: "startedAt", Value: shadow.Text(n.started.UTC().Format(time.RFC3339))},
		shadow.Member{Key: "arch", Value: shadow.Text(runtime.GOARCH)},
		shadow.Member{Key: "os", Value: shadow.Text(runtime.GOOS)},
		shadow.Member{Key: "applications", Value: shadow.NewObject(applications...)},
		shadow.Member{Key: "policies", Value: shadow.NewObject(policies...)},
		shadow.Member{Key: "observedVersion", Value: shadow.Uint(r.desiredVersion)},
	)})
	r.reported = shadow.Merge(r.desired, status, 0)
}

func (n *Node) flushAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.flush(); err != nil && n.conn != nil {
		_ = n.conn.Close()
	}
}

// flush sends every report that is due; n.mu is held.
func (n *Node) flush() error {
	if n.conn == nil || !n.synced {
		return nil
	}
	for name, r := range n.replicas {
		if r.flight != nil || r.held || !r.full && shadow.Equal(r.reported, r.acked) {
			continue
		}
		err := n.report(name, r)
		if errors.Is(err, mqtt.ErrQuota) {
			return nil // the next PUBACK comes back here
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// report sends what r's report lacks, or all of it, and injects the faults of
// the link.
func (n *Node) report(name string, r *replica) error {
	fault := n.random.Float64()
	if fault < n.cfg.FaultRate/3 {
		n.Counters.CutBefore.Add(1)
		_ = n.conn.Close()
		return errCut
	}
	f := &flight{token: n.token(), reported: r.reported}
	topic := n.topic
	topic.Shadow, topic.Op = name, wire.OpUpdate
	if _, err := n.conn.Publish(topic.Request(), n.body(r, f.token), 1); err != nil {
		return err
	}
	r.flight, r.full = f, false
	n.Counters.Reports.Add(1)
	if fault < 2*n.cfg.FaultRate/3 {
		n.Counters.CutAfter.Add(1)
		_ = n.conn.Close()
		return errCut
	}
	return nil
}

// body is an update that carries its place in the order of this node's reports.
func (n *Node) body(r *replica, token string) []byte {
	patch := r.reported
	if !r.full {
		patch = shadow.PatchBetween(r.acked, r.reported)
	}
	n.seq++
	origin := shadow.Origin{BootEpoch: n.cfg.BootEpoch, Seq: n.seq}
	return wire.AppendReport(make([]byte, 0, 512), patch, origin, r.full, token)
}
