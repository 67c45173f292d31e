package devices

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"gnomon/edge/state"
	"gnomon/shadow"
)

// kind is that of the records of shadows, one for each.
const kind state.Kind = "device"

type record struct {
	Thing    string          `json:"thing"`
	Shadow   string          `json:"shadow,omitempty"`
	Document []byte          `json:"document"` // shadow.Document.AppendRecord
	Cloud    cloudRecord     `json:"cloud,omitzero"`
	Deleting bool            `json:"deleting,omitempty"`
	Sent     json.RawMessage `json:"sent,omitempty"` // {} is an absent section
}

type cloudRecord struct {
	Version        uint64          `json:"version,omitempty"`
	DesiredVersion uint64          `json:"desiredVersion,omitempty"`
	Desired        json.RawMessage `json:"desired,omitempty"`
	Reported       json.RawMessage `json:"reported,omitempty"`
	Full           bool            `json:"full,omitempty"`
}

// recordName names the file of a shadow. Names are as long as the contract has
// them, which escaped is longer than every file system takes.
func recordName(k key) string {
	if n := k.thing + "/" + k.name; len(n) <= 64 {
		return n
	}
	sum := sha256.Sum256([]byte(k.thing + "/" + k.name))
	return "long/" + hex.EncodeToString(sum[:])
}

func (r *replica) record() (state.Record, error) {
	var last json.RawMessage
	if r.sent != nil {
		last = text(whole(r.sent.value))
	}
	data, err := json.Marshal(record{
		Thing: r.thing, Shadow: r.name, Document: r.doc.AppendRecord(nil), Deleting: r.deleting, Sent: last,
		Cloud: cloudRecord{r.cloud.version, r.cloud.desiredVersion, text(r.cloud.desired), text(r.cloud.reported), r.cloud.full},
	})
	return state.Record{Kind: kind, Name: recordName(r.key), Data: data}, err
}

func parseRecord(data []byte) (*replica, error) {
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, err
	}
	doc, err := shadow.ParseRecord(rec.Document)
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	r := &replica{key: key{rec.Thing, rec.Shadow}, doc: doc, deleting: rec.Deleting}
	r.cloud = side{version: rec.Cloud.Version, desiredVersion: rec.Cloud.DesiredVersion, full: rec.Cloud.Full}
	if r.cloud.desired, err = value(rec.Cloud.Desired); err != nil {
		return nil, fmt.Errorf("desired: %w", err)
	}
	if r.cloud.reported, err = value(rec.Cloud.Reported); err != nil {
		return nil, fmt.Errorf("reported: %w", err)
	}
	if len(rec.Sent) > 0 {
		v, err := value(rec.Sent)
		if err != nil {
			return nil, fmt.Errorf("sent: %w", err)
		}
		r.sent = &sent{v}
	}
	return r, nil
}

func text(v *shadow.Value) json.RawMessage {
	if v == nil {
		return nil
	}
	return v.AppendJSON(nil)
}

// generous are the limits of what was accepted before, here or in the cloud.
var generous = shadow.Limits{StateBytes: 4 << 20, Depth: shadow.MaxDepth, BodyBytes: 4 << 20}

// value reads a section; absent and null are nil.
func value(text []byte) (*shadow.Value, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	v, err := shadow.Parse(text, generous)
	if err == nil && v.Len() == 0 {
		v = nil
	}
	return v, err
}
