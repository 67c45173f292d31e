package loop

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// record is one memory on disk. Of policies only what was applied last is kept,
// and the plan.
type record struct {
	reconcile.Memory
	Applied appliedRecord
	Good    appliedRecord `json:",omitzero"`
	Plan    schema.Plan   `json:",omitzero"`
}

type appliedRecord struct {
	Version uint64          `json:"version"`
	Desired json.RawMessage `json:"desired,omitempty"`
	Same    bool            `json:"same,omitempty"` // Good: it is what is applied
}

var limits = shadow.Limits{StateBytes: 4 << 20, Depth: shadow.MaxDepth, BodyBytes: 4 << 20}

func encode(m reconcile.Memory, p schema.Plan) (string, error) {
	r := record{Memory: m, Applied: appliedRecord{Version: m.Applied.Version}, Plan: p}
	r.Memory.Applied, r.Memory.Good = reconcile.Applied{}, reconcile.Applied{}
	if m.Applied.Desired != nil {
		r.Applied.Desired = m.Applied.Desired.AppendJSON(nil)
	}
	r.Good.Version = m.Good.Version
	switch {
	case m.Good.Desired == nil:
	case m.Good == m.Applied:
		r.Good.Same = true
	default:
		r.Good.Desired = m.Good.Desired.AppendJSON(nil)
	}
	text, err := json.Marshal(r)
	return string(text), err
}

func decode(text []byte) (reconcile.Memory, schema.Plan, error) {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return reconcile.Memory{}, schema.Plan{}, err
	}
	m := r.Memory
	var err, goodErr error
	m.Applied, err = r.Applied.parse()
	m.Good, goodErr = r.Good.parse()
	if r.Good.Same {
		m.Good = m.Applied
	}
	if err := errors.Join(err, goodErr); err != nil {
		return reconcile.Memory{}, schema.Plan{}, err
	}
	return m, r.Plan, nil
}

func (r appliedRecord) parse() (a reconcile.Applied, err error) {
	a.Version = r.Version
	if len(r.Desired) > 0 {
		a.Desired, err = shadow.Parse(r.Desired, limits)
	}
	return a, err
}

// load reads what an earlier agent remembered. What can't be read is forgotten:
// it costs a restart counter and a pause.
func (l *Loop) load() error {
	all, err := l.cfg.Memory.All(state.KindPlan)
	if err != nil {
		return err
	}
	for shadowName, text := range all {
		l.saved[shadowName] = string(text)
		m, p, err := decode(text)
		if err != nil {
			l.cfg.Log.Warn("what was remembered is unreadable", "shadow", shadowName, "error", err)
			continue
		}
		if p.Version > 0 {
			l.plans[shadowName] = p
		}
		if essence, err := encode(m, withoutSteps(p)); err == nil {
			l.saved[shadowName] = essence
		}
		switch kind, name := schema.KindOf(shadowName); kind {
		case schema.KindApplication:
			l.memory[name] = m
		case schema.KindPolicy:
			l.policies[name] = &policy{applied: m.Applied}
		}
	}
	return nil
}

// withoutSteps is a plan as it decides whether a record is written: its steps go
// to the disk with what they lead to, and are worth no write of their own.
func withoutSteps(p schema.Plan) schema.Plan {
	p.Steps = nil
	return p
}

// save writes what changed since the last time.
func (l *Loop) save() {
	now := make(map[string]reconcile.Memory, len(l.memory)+len(l.policies))
	for name, m := range l.memory {
		now[schema.AppPrefix+name] = m
	}
	for name, p := range l.policies {
		now[schema.PolicyPrefix+name] = reconcile.Memory{Applied: p.applied}
	}
	var changed []state.Record
	essences := make(map[string]string)
	for _, shadowName := range slices.Sorted(maps.Keys(now)) {
		plan := l.plans[shadowName]
		essence, err := encode(now[shadowName], withoutSteps(plan))
		text := essence
		if err == nil && l.saved[shadowName] == essence {
			continue
		}
		if err == nil {
			text, err = encode(now[shadowName], plan)
		}
		if err != nil {
			l.cfg.Log.Error("what is remembered cannot be written", "shadow", shadowName, "error", err)
			continue
		}
		changed, essences[shadowName] = append(changed, state.Record{Kind: state.KindPlan, Name: shadowName, Data: []byte(text)}), essence
	}
	if len(changed) > 0 {
		if err := l.cfg.Memory.Put(changed...); err != nil {
			l.cfg.Log.Error("what is remembered cannot be written", "error", err)
		} else {
			for _, r := range changed {
				l.saved[r.Name] = essences[r.Name]
			}
		}
	}
	for shadowName := range l.saved {
		if _, kept := now[shadowName]; kept {
			continue
		}
		if err := l.cfg.Memory.Delete(state.KindPlan, shadowName); err != nil {
			l.cfg.Log.Error("what was remembered cannot be deleted", "shadow", shadowName, "error", err)
			continue
		}
		delete(l.saved, shadowName)
	}
}
