package override

import (
	"encoding/json"
	"fmt"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// record is an entry on disk.
type record struct {
	Kind   schema.OverrideKind `json:"kind"`
	Value  json.RawMessage     `json:"value,omitempty"`
	Base   json.RawMessage     `json:"base,omitempty"`
	Of     uint64              `json:"of,omitempty"`
	Ending bool                `json:"ending,omitempty"`
	Reason string              `json:"reason"`
	By     string              `json:"by"`
	Lease  lease               `json:"lease"`
}

// limits are those of reading back: what is on disk was accepted once.
var limits = shadow.Limits{StateBytes: 4 << 20, Depth: shadow.MaxDepth, BodyBytes: 4 << 20}

func (e *entry) record(app string) (state.Record, error) {
	r := record{Kind: e.kind, Of: e.of, Ending: e.ending, Reason: e.reason, By: e.by, Lease: e.lease}
	if e.value != nil {
		r.Value = e.value.AppendJSON(nil)
	}
	if e.base != nil {
		r.Base = e.base.AppendJSON(nil)
	}
	data, err := json.Marshal(r)
	return state.Record{Kind: state.KindOverride, Name: schema.AppPrefix + app, Data: data}, err
}

func parseRecord(data []byte) (*entry, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	e := &entry{kind: r.Kind, of: r.Of, ending: r.Ending, reason: r.Reason, by: r.By, lease: r.Lease}
	for _, part := range []struct {
		text json.RawMessage
		into **shadow.Value
	}{{r.Value, &e.value}, {r.Base, &e.base}} {
		if len(part.text) == 0 {
			continue
		}
		v, err := shadow.Parse(part.text, limits)
		if err != nil {
			return nil, err
		}
		*part.into = v
	}
	switch {
	case e.kind == schema.OverrideRemoved, (e.kind == schema.OverrideChanged || e.kind == schema.OverrideInstalled) && e.value != nil:
		return e, nil
	}
	return nil, fmt.Errorf("an override of kind %q without what it is", r.Kind)
}
