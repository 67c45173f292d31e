package reconcile

import (
	"fmt"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// Health is what the probe of an instance has found. The zero Health is that of
// an application without a probe.
type Health struct {
	State    schema.HealthState `json:"state"`
	Since    time.Time          `json:"since,omitzero"`    // it is in that state
	At       time.Time          `json:"at,omitzero"`       // of the last probe
	Failures int                `json:"failures"`          // in a row
	Message  string             `json:"message,omitempty"` // of the last failure; while unhealthy, of the one that made it so
}

// good tells whether there is nothing against relying on it.
func (h Health) good() bool { return h.State == "" || h.State == schema.HealthHealthy }

// codeUnhealthy is the fault of an instance that its probe found unhealthy.
const codeUnhealthy = "unhealthy"

// health is what is known of an instance.
func (p *planner) health(a *App, st workload.Status) Health {
	if a == nil || st.State != workload.Running || a.ProbeOf(st) == nil {
		return Health{}
	}
	if h, known := p.in.Health[st.Instance]; known {
		return h
	}
	return Health{State: schema.HealthStarting}
}

// ill tells whether the instance that is wanted runs and is unhealthy.
func (p *planner) ill(a *App, st workload.Status) bool {
	return a.Want != nil && st.Hash == a.Hash && p.health(a, st).State == schema.HealthUnhealthy
}

// runsRight decides about an instance that runs as it is wanted.
func (p *planner) runsRight(a *App, st workload.Status, m Memory, v *View) Memory {
	v.Phase, v.Health = Running, p.health(a, st)
	if v.Health.State == schema.HealthUnhealthy {
		if !m.cannotStop() {
			m = m.runs()
			m.Fault = unhealthy(a, v.Health)
		}
		m.Well = Well{}
		if m.restarts(a.Want.Run.Restart) {
			return p.stopIll(a, st, m, v)
		}
		return p.tookEffect(a, m) // what can't be started again is better than nothing
	}
	m = m.runs()
	if m.Sick == st.Instance {
		m.Sick = ""
	}
	return p.watch(a, st, m, v)
}

// stopIll ends an unhealthy instance. How it ends says nothing then.
func (p *planner) stopIll(a *App, st workload.Status, m Memory, v *View) Memory {
	before := m.Halted
	v.why = "unhealthy: " + unhealthy(a, v.Health).Message
	if m = p.stop(a, st, m, v); m.Halted == st.Instance {
		m.Halted, m.Sick = before, st.Instance
	}
	return m
}

// watch follows an instance that runs well until nothing hangs on it any more:
// its configuration is committed, and former failures are forgotten.
func (p *planner) watch(a *App, st workload.Status, m Memory, v *View) Memory {
	trial, window := p.onTrial(a, m), a.Want.Update.Healthy.D()
	if t := p.beingRebuilt(a); t != "" {
		v.block(schema.BlockedTarget, t, "waiting for "+t+": it doesn't run with what this adds to it yet")
		return m
	}
	if trial && window == 0 {
		m, trial = p.commit(a, m), false
	}
	if !trial {
		m = p.tookEffect(a, m)
	}
	if v.Health.good() {
		m = m.ranWith(a)
	}
	probed := a.Want.Run.Health != nil
	if !trial && (!probed || m.Attempts == 0) {
		m.Well = Well{}
		return m
	}
	if !v.Health.good() {
		m.Well = Well{}
		if trial {
			v.block(schema.BlockedHealth, "", "its probe has not succeeded yet"+because(v.Health.Message))
		}
		return m
	}
	if m.Well.Instance != st.Instance || m.Well.Since.After(p.in.Now) { // it is another one, or the clock was set back
		m.Well = Well{st.Instance, p.in.Now}
	}
	if probed && m.Attempts > 0 && p.reached(m.Well.Since.Add(a.Want.Run.Restart.BackoffReset.D())) {
		m.Attempts = 0
	}
	if !trial {
		return m
	}
	due := m.Well.Since.Add(window)
	if p.reached(due) {
		return p.commit(a, m)
	}
	v.block(schema.BlockedCommit, "", "to be committed at "+due.UTC().Format(time.RFC3339)).Until = due
	return m
}

// reached tells whether it is time, and has the plan looked at again when it is.
func (p *planner) reached(t time.Time) bool {
	if t.After(p.in.Now) {
		p.wake(t)
		return false
	}
	return true
}

// unhealthy is the fault of an instance that its probe finds unhealthy. It stays
// the same for as long as that does.
func unhealthy(a *App, h Health) *Fault {
	times := "its last probe failed"
	if n := a.Want.Run.Health.Failures; n > 1 {
		times = fmt.Sprintf("its probe failed %d times in a row", n)
	}
	return &Fault{Code: codeUnhealthy, Message: clip(times + because(h.Message)), Retryable: true, At: h.Since}
}

func because(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

// block adds a blocker.
func (v *View) block(code, on, message string) *schema.Blocker {
	v.Blockers = append(v.Blockers, schema.Blocker{Code: code, On: on, Message: clip(message)})
	return &v.Blockers[len(v.Blockers)-1]
}
