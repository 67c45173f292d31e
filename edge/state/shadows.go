package state

import (
	"encoding/json"
	"fmt"
	"time"

	"gnomon/shadow"
)

// Desired is what the cloud wants of one shadow.
type Desired struct {
	Name           string
	Version        uint64        // of the document, as far as it is known
	DesiredVersion uint64        // at which desired last changed
	Value          *shadow.Value // nil: nothing is wanted
	Deleted        bool          // there is no such shadow any more; kept until what belongs to it is gone
	Trace          string        // id of the trace of the write; "" when it isn't known
	At             time.Time     // it was written to this disk; zero when that isn't known
}

// Outbox is what one shadow reports.
type Outbox struct {
	Name     string
	Reported *shadow.Value // what the cloud shall hold
	Acked    *shadow.Value // what it is known to hold
	Full     bool          // it is known to hold something else: all of Reported must be sent

	Withdrawn bool // the cloud didn't ask for the shadow, and shall forget it
}

// limits are those of reading back: what is on disk was accepted once.
var limits = shadow.Limits{StateBytes: 4 << 20, Depth: 128, BodyBytes: 4 << 20}

type desiredRecord struct {
	Version        uint64          `json:"version"`
	DesiredVersion uint64          `json:"desiredVersion"`
	Deleted        bool            `json:"deleted,omitempty"`
	Trace          string          `json:"trace,omitempty"`
	At             time.Time       `json:"at,omitzero"`
	Desired        json.RawMessage `json:"desired,omitempty"`
}

type outboxRecord struct {
	Full     bool            `json:"full,omitempty"`
	Withdraw bool            `json:"withdrawn,omitempty"`
	Settled  bool            `json:"settled,omitempty"` // reported is what was acknowledged
	Reported json.RawMessage `json:"reported,omitempty"`
	Acked    json.RawMessage `json:"acked,omitempty"`
}

// PutDesired writes what is wanted; on return it is on disk.
func (s *Store) PutDesired(all ...Desired) error {
	records := make([]Record, len(all))
	for i, d := range all {
		data, err := json.Marshal(desiredRecord{d.Version, d.DesiredVersion, d.Deleted, d.Trace, d.At, text(d.Value)})
		if err != nil {
			return err
		}
		records[i] = Record{KindDesired, d.Name, data}
	}
	return s.Put(records...)
}

// PutOutbox writes what is reported; on return it is on disk.
func (s *Store) PutOutbox(all ...Outbox) error {
	records := make([]Record, len(all))
	for i, o := range all {
		r := outboxRecord{Full: o.Full, Withdraw: o.Withdrawn, Reported: text(o.Reported)}
		if r.Settled = o.Reported != nil && shadow.Equal(o.Reported, o.Acked); !r.Settled {
			r.Acked = text(o.Acked)
		}
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		records[i] = Record{KindOutbox, o.Name, data}
	}
	return s.Put(records...)
}

// AllDesired reads what is wanted of every shadow.
func (s *Store) AllDesired() ([]Desired, error) {
	all, err := s.All(KindDesired)
	if err != nil {
		return nil, err
	}
	var out []Desired
	for name, data := range all {
		var r desiredRecord
		err := json.Unmarshal(data, &r)
		d := Desired{Name: name, Version: r.Version, DesiredVersion: r.DesiredVersion, Deleted: r.Deleted, Trace: r.Trace, At: r.At}
		if err == nil {
			d.Value, err = value(r.Desired)
		}
		if err != nil {
			s.Reject(KindDesired, name, err)
			continue
		}
		out = append(out, d)
	}
	return out, nil
}

// AllOutbox reads what every shadow reports.
func (s *Store) AllOutbox() ([]Outbox, error) {
	all, err := s.All(KindOutbox)
	if err != nil {
		return nil, err
	}
	var out []Outbox
	for name, data := range all {
		o, err := parseOutbox(data)
		if err != nil {
			s.Reject(KindOutbox, name, err)
			continue
		}
		o.Name = name
		out = append(out, o)
	}
	return out, nil
}

func parseOutbox(data []byte) (o Outbox, err error) {
	var r outboxRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return Outbox{}, err
	}
	o.Full, o.Withdrawn = r.Full, r.Withdraw
	if o.Reported, err = value(r.Reported); err != nil {
		return Outbox{}, fmt.Errorf("reported: %w", err)
	}
	if r.Settled {
		o.Acked = o.Reported
	} else if o.Acked, err = value(r.Acked); err != nil {
		return Outbox{}, fmt.Errorf("acked: %w", err)
	}
	return o, nil
}

func text(v *shadow.Value) json.RawMessage {
	if v == nil {
		return nil
	}
	return v.AppendJSON(nil)
}

func value(text []byte) (*shadow.Value, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	return shadow.Parse(text, limits)
}
