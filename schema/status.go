package schema

import (
	"strconv"
	"strings"

	"gnomon/shadow"
)

// Fault is the last error of an application or policy, as its edge reported it.
type Fault struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
	At        string `json:"at,omitempty"` // RFC 3339, by the edge's clock
}

// FaultNoRoom is the code of a policy that the line of its meters has no time for
// beside the others there.
const FaultNoRoom = "no-room"

// Status is how far a shadow has converged, derived from the document alone.
type Status struct {
	Phase           string      `json:"phase,omitempty"`           // as reported; pending when nothing is
	ObservedVersion uint64      `json:"observedVersion,omitempty"` // the desired version the edge last acted on
	Converged       bool        `json:"converged"`
	Pending         []string    `json:"pending,omitempty"` // paths of the delta: desired and not yet applied
	Fault           *Fault      `json:"error,omitempty"`
	Health          HealthState `json:"health,omitempty"` // what the probe of an application says; "" without one

	Override *Override `json:"override,omitempty"` // what somebody on the node made of the application, for a time
}

// PhasePending is the phase of a typed shadow that no edge has reported on.
const PhasePending = "pending"

// settled are the phases in which nothing more will happen by itself.
var settled = map[string]bool{"running": true, "stopped": true, "collecting": true, "disabled": true}

// StatusOf derives the status of a shadow by its name. A free shadow has
// converged when its delta is empty. A typed one must also have been acted on
// at the desired version, which is how a member that left desired is seen to
// be gone, be settled in its phase, and report no error. An application that is
// overridden on its node has not converged: it will be something else by itself.
func StatusOf(shadowName string, d *shadow.Document) Status {
	if !d.Exists() {
		return Status{}
	}
	delta := d.Delta()
	s := Status{Pending: shadow.Paths(delta)}
	status := d.Reported
	kind, _ := KindOf(shadowName)
	switch kind {
	case KindFree:
		s.Converged = delta == nil
		return s
	case KindNode:
		status = d.Reported.Get(NodeMember)
		if !IsNode(d) {
			s.Converged = delta == nil
			return s
		}
		s.ObservedVersion = number(status.Get("observedVersion"))
		s.Converged = delta == nil && (d.Desired.Get(NodeMember) == nil || s.ObservedVersion >= d.DesiredVersion)
		return s
	}
	s.Phase = PhasePending
	if p := status.Get("phase"); p.Kind() == shadow.String {
		s.Phase = p.Text()
	}
	s.ObservedVersion = number(status.Get("observedVersion"))
	s.Fault = faultOf(status.Get("error"))
	if o, overridden := OverrideOf(d.Reported); overridden && kind == KindApplication {
		s.Override = &o
	}
	if kind == KindApplication {
		s.Health = healthOf(status.Get("health"))
	}
	s.Converged = delta == nil && s.Fault == nil && s.Override == nil && settled[s.Phase] && s.ObservedVersion >= d.DesiredVersion
	return s
}

// IsNode tells whether a classic shadow makes its thing a node.
func IsNode(d *shadow.Document) bool {
	return d.Exists() &&
		(d.Desired.Get(NodeMember).Kind() == shadow.Object || d.Reported.Get(NodeMember).Kind() == shadow.Object)
}

// statusRoom is what the report of an application or a policy needs beside the
// desired section, which it repeats: its phase, errors, figures. In bytes.
const statusRoom = 4 << 10

// stopRoom is what one member takes that stops or disables something. In bytes.
const stopRoom = 64

// Fits refuses a desired section that leaves no room in its shadow, of limit bytes
// in all, for the report that repeats it: such a shadow could never converge. before
// is what was desired, if anything was: one that has no room already, as it was stored
// when more was allowed, may become smaller in steps, and be stopped.
func Fits(shadowName string, before, desired *shadow.Value, limit int) error {
	kind, _ := KindOf(shadowName)
	if kind != KindApplication && kind != KindPolicy {
		return nil
	}
	most := max(limit-statusRoom, 0) / 2
	if n := desired.JSONLen(); n > most {
		if was := before.JSONLen(); was > most && n <= was+stopRoom {
			return nil
		}
		return &Error{Kind: kind, Problems: []Problem{{
			Path: "desired", Value: n, Limit: most,
			Message: "has too many bytes: reported repeats it within the same shadow; make two of it, or raise gnomon cloud --state-limit",
		}}}
	}
	return nil
}

// Validate checks the desired section of a shadow by the shadow's name. A nil
// section is valid: nothing is wanted. The error is an *Error.
func Validate(shadowName string, desired *shadow.Value) error {
	if desired == nil {
		return nil
	}
	kind, n := KindOf(shadowName)
	switch kind {
	case KindApplication, KindPolicy:
		if !ValidName(n) {
			return &Error{Kind: kind, Problems: []Problem{{Path: "name", Message: "must be " + NameRule, Value: n}}}
		}
	case KindNode:
		if desired = desired.Get(NodeMember); desired == nil {
			return nil
		}
	default:
		return nil
	}
	text := desired.AppendJSON(nil)
	var err error
	switch kind {
	case KindApplication:
		_, err = ParseApplication(text)
	case KindPolicy:
		_, err = ParsePolicy(text)
	default:
		_, err = ParseNode(text)
	}
	return err
}

// number reads a version; 0 when it isn't one.
func number(v *shadow.Value) uint64 {
	if v.Kind() != shadow.Number {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(v.Text(), ".0"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func healthOf(v *shadow.Value) HealthState {
	switch h := HealthState(v.Text()); h {
	case HealthStarting, HealthHealthy, HealthUnhealthy:
		return h
	default:
		return ""
	}
}

func faultOf(v *shadow.Value) *Fault {
	if v.Kind() != shadow.Object {
		return nil
	}
	return &Fault{
		Code:      v.Get("code").Text(),
		Message:   v.Get("message").Text(),
		Retryable: v.Get("retryable").Text() == "true",
		At:        v.Get("at").Text(),
	}
}
