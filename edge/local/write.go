package local

import (
	"encoding/json"
	"net/http"
	"time"

	"gnomon/edge/collect"
	"gnomon/shadow"
)

// Write is a value that somebody wants an item of a meter to have.
type Write struct {
	Meter string          `json:"meter"`
	Item  string          `json:"item"`
	Value json.RawMessage `json:"value"` // a number, or true or false
	By    string          `json:"by,omitempty"`
}

// Wrote is what the meter shows after it was written.
type Wrote struct {
	Policy string          `json:"policy"`
	Meter  string          `json:"meter"`
	Item   string          `json:"item"`
	Value  json.RawMessage `json:"value"`
	At     time.Time       `json:"at"`
}

// write writes an item of a meter. Who asked, for what, and what came of it, is in
// the log, refused or not.
func (s *Server) write(r *http.Request) (any, error) {
	var in Write
	if err := read(r, &in); err != nil {
		return nil, err
	}
	v, err := shadow.Parse(in.Value, valueLimits)
	if err != nil || v.Kind() != shadow.Number && v.Kind() != shadow.Bool {
		return nil, bad("invalid", "value must be a number, true or false", "")
	}
	policy, by := r.PathValue("name"), asker(r, in.By)
	log := s.cfg.Log.With("policy", policy, "meter", in.Meter, "item", in.Item, "value", v.Text(), "by", by)
	log.Info("write asked for on the node")
	back, err := s.cfg.Meters.Write(r.Context(), policy, in.Meter, in.Item, v)
	if err != nil {
		log.Warn("not written, or not as it should be", "reason", problemOf(err).Code, "error", err)
		return nil, err
	}
	log.Info("written", "shows", back.Value.Text())
	return Wrote{Policy: policy, Meter: in.Meter, Item: in.Item, Value: back.Value.AppendJSON(nil), At: back.At}, nil
}

var _ Meters = (*collect.Engine)(nil)
