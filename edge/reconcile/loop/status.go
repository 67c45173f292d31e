package loop

import (
	"strings"
	"time"

	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// Status is what the loop knows, for whoever asks on the node itself.
type Status struct {
	Applications []Application `json:"applications"` // by name
	Policies     []Policy      `json:"policies"`     // by name
	Store        Store         `json:"store,omitzero"`
}

// Store is what is wrong with the node's own disk; zero: nothing.
type Store struct {
	SetAside int              `json:"setAside,omitempty"` // records that did not check out since the agent started; the cloud sends again what they said
	Records  []string         `json:"records,omitempty"`  // files of some of them
	Error    *reconcile.Fault `json:"error,omitempty"`    // nothing can be written
}

func storeOf(h state.Health) Store {
	s := Store{SetAside: h.SetAside, Records: h.Records}
	if f := h.Fault; f != nil {
		s.Error = &reconcile.Fault{Code: f.Code, Message: clip(f.Message), Retryable: true, At: f.Since}
	}
	return s
}

// Application is one application as it is.
type Application struct {
	Name            string           `json:"name"`
	Mode            string           `json:"mode,omitempty"`
	Component       string           `json:"component,omitempty"`
	Phase           string           `json:"phase"`
	PID             int              `json:"pid,omitempty"`
	Instance        string           `json:"instance,omitempty"`
	StartedAt       time.Time        `json:"startedAt,omitzero"`
	Restarts        int              `json:"restarts"`
	DesiredVersion  uint64           `json:"desiredVersion"`
	ObservedVersion uint64           `json:"observedVersion"`
	Plan            schema.Plan      `json:"plan,omitzero"`    // of the desired version
	Beside          *schema.Beside   `json:"beside,omitempty"` // the instance that is to take over from this one
	Health          reconcile.Health `json:"health,omitzero"`
	Blockers        schema.Blockers  `json:"blockers,omitempty"`
	Error           *reconcile.Fault `json:"error,omitempty"`
	Exit            *reconcile.Exit  `json:"exit,omitempty"`
}

// Policy is one collection policy as it is.
type Policy struct {
	Name            string           `json:"name"`
	Phase           string           `json:"phase"`
	DesiredVersion  uint64           `json:"desiredVersion"`
	ObservedVersion uint64           `json:"observedVersion"`
	Plan            schema.Plan      `json:"plan,omitzero"` // of the desired version
	Cycles          uint64           `json:"cycles"`
	Meters          int              `json:"meters"`
	Success         int              `json:"success"`
	Problem         string           `json:"problem,omitempty"` // of the last cycle
	Error           *reconcile.Fault `json:"error,omitempty"`
}

// Status returns what came out of the last pass. It may be called at any time.
func (l *Loop) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

func applicationOf(a *reconcile.App, v reconcile.View, p schema.Plan) Application {
	s := Application{
		Name: a.Name, Phase: string(v.Phase), Restarts: v.Memory.Restarts,
		DesiredVersion: a.Version, ObservedVersion: v.Observed,
		Plan: p, Beside: besideOf(v), Health: v.Health, Blockers: v.Blockers, Error: v.Fault, Exit: v.Memory.Exit,
	}
	if a.Want != nil {
		s.Mode, s.Component = string(a.Want.Mode), a.Want.Component
	}
	if v.Status.State == workload.Running {
		s.PID, s.Instance, s.StartedAt = v.Status.PID, v.Status.Instance, v.Status.StartedAt
	}
	return s
}

// Why says what keeps an application from where it shall be, "" if nothing does.
func (a Application) Why() string {
	if a.Error != nil {
		return a.Error.Message
	}
	return strings.Join(a.Blockers.Messages(), "; ")
}

// Why says what keeps a policy from reading everything, "" if nothing does.
func (p Policy) Why() string {
	if p.Error != nil {
		return p.Error.Message
	}
	return p.Problem
}
