package wire

import (
	"encoding/json"

	"gnomon/shadow"
)

// SyncRequest is what a node sends on every connect and at intervals: all the
// shadows it holds. Keys are shadow names, "" for the classic one.
type SyncRequest struct {
	BootEpoch   uint64               `json:"bootEpoch"`
	Shadows     map[string]SyncState `json:"shadows"`
	All         bool                 `json:"all,omitempty"` // of a device: the reply also lists the shadows that aren't stated, without their desired section
	ClientToken string               `json:"clientToken,omitempty"`
}

// SyncState is what a node holds of one shadow.
type SyncState struct {
	Desired  uint64 `json:"desired"`            // shadow.Document.DesiredVersion of the desired section held; 0 = none
	Reported string `json:"reported,omitempty"` // shadow.Digest of what the cloud has acknowledged; "" = nothing
}

// SyncReply lists only what differs. More tells that it was cut at MaxSyncBytes
// and that the node shall ask again when it has taken in this part.
type SyncReply struct {
	BootEpoch   uint64                `json:"bootEpoch"` // the node's, or a higher one the cloud has seen of it: it must then count on from there
	Timestamp   int64                 `json:"timestamp"`
	Shadows     map[string]SyncShadow `json:"shadows"`
	More        bool                  `json:"more,omitempty"`
	ClientToken string                `json:"clientToken,omitempty"`
}

// SyncShadow is the cloud's side of one shadow that differs.
type SyncShadow struct {
	Version        uint64          `json:"version"`
	DesiredVersion uint64          `json:"desiredVersion"`
	Desired        json.RawMessage `json:"desired,omitempty"`     // the whole section, when the node's is not current; absent when there is none
	Current        bool            `json:"current,omitempty"`     // the node's desired section is the current one
	Deleted        bool            `json:"deleted,omitempty"`     // there is no such shadow: drop it
	ReportFull     bool            `json:"reportFull,omitempty"`  // reported differs: send all of it
	Trace          string          `json:"traceparent,omitempty"` // of the write that led to desired, as far as it is known
}

// Bounds of the messages of our own, in bytes.
const (
	MaxSyncBytes = 192 << 10 // below the broker's packet limit
	MaxSynced    = 4096      // shadows in one request
)

const messageInvalidSync = "Invalid sync"

// ParseSyncRequest reads a sync request.
func ParseSyncRequest(body []byte) (*SyncRequest, error) {
	r, err := decode[SyncRequest](body)
	if err != nil {
		return nil, err
	}
	switch {
	case r.BootEpoch == 0:
		return nil, &shadow.InvalidError{Message: messageInvalidSync, Detail: "bootEpoch must be 1 or more"}
	case len(r.Shadows) > MaxSynced:
		return nil, &shadow.LimitError{Field: "shadows", Limit: MaxSynced, Got: len(r.Shadows)}
	case len(r.ClientToken) > maxToken:
		return nil, &shadow.InvalidError{Message: "Invalid clientToken", Detail: "a string of at most 64 bytes"}
	}
	for name, state := range r.Shadows {
		if err := checkName(name); err != nil {
			return nil, err
		}
		if len(state.Reported) > digestLength {
			return nil, &shadow.LimitError{Field: "reported", Limit: digestLength, Got: len(state.Reported)}
		}
	}
	return r, nil
}

// digestLength is that of shadow.Digest.
const digestLength = 16

// checkName refuses what is no shadow's name; "" is the classic shadow's.
func checkName(name string) error {
	if name == "" || ValidShadow(name) {
		return nil
	}
	return &shadow.InvalidError{Message: messageInvalidSync, Detail: "not a shadow's name: 1 to 64 of [$a-zA-Z0-9:_-]"}
}

// ParseSyncReply reads a sync reply. A trace that is none is left out.
func ParseSyncReply(body []byte) (*SyncReply, error) {
	r, err := decode[SyncReply](body)
	if err != nil {
		return nil, err
	}
	for name, s := range r.Shadows {
		if err := checkName(name); err != nil {
			return nil, err
		}
		if s.Desired, err = section(s.Desired); err != nil {
			return nil, err
		}
		if _, ok := TraceID(s.Trace); !ok {
			s.Trace = ""
		}
		r.Shadows[name] = s
	}
	return r, nil
}

// decode reads one JSON value. Members it doesn't know are ignored, so that
// cloud and edge can be upgraded one after the other.
func decode[T any](body []byte) (*T, error) {
	if len(body) > 2*MaxSyncBytes {
		return nil, &shadow.LimitError{Field: "body", Limit: 2 * MaxSyncBytes, Got: len(body)}
	}
	var v *T
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, &shadow.InvalidError{Message: "Invalid JSON", Detail: err.Error()}
	}
	if v == nil {
		return nil, &shadow.InvalidError{Message: "Invalid JSON", Detail: "the body must be an object"}
	}
	return v, nil
}

// section checks that a raw section or patch is an object; null is absent.
func section(raw json.RawMessage) (json.RawMessage, error) {
	switch {
	case len(raw) == 0, string(raw) == "null":
		return nil, nil
	case raw[0] != '{':
		return nil, &shadow.InvalidError{Message: messageInvalidSync, Detail: "a section must be an object"}
	}
	return raw, nil
}

// Append appends the message as JSON. Its content is ours, so that it can't fail.
func (r *SyncRequest) Append(dst []byte) []byte { return appendJSON(dst, r) }

// Append appends the message as JSON.
func (r *SyncReply) Append(dst []byte) []byte { return appendJSON(dst, r) }

func appendJSON(dst []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("wire: a raw message that is no JSON: " + err.Error()) // only our own encoders fill them
	}
	return append(dst, text...)
}
