package wire

import (
	"encoding/json"
	"strconv"

	"gnomon/shadow"
)

// DesiredPush tells a node of a change of desired. With Base 0 Patch is the
// whole section, or absent when there is none; otherwise it is a merge patch
// that leads from desired version Base to DesiredVersion.
type DesiredPush struct {
	Version        uint64          `json:"version"`
	Base           uint64          `json:"base"`
	DesiredVersion uint64          `json:"desiredVersion"`
	Patch          json.RawMessage `json:"patch,omitempty"`
	Deleted        bool            `json:"deleted,omitempty"`
	Timestamp      int64           `json:"timestamp"`
	Trace          string          `json:"traceparent,omitempty"` // of the write, see TraceID
}

const messageInvalidPush = "Invalid desired push"

// ParseDesiredPush reads a desired push. One that would lead back, or that has
// a base and no patch, is refused: merged, it would wipe what is held. A trace
// that is none is left out: it is no reason not to act.
func ParseDesiredPush(body []byte) (*DesiredPush, error) {
	p, err := decode[DesiredPush](body)
	if err != nil {
		return nil, err
	}
	if p.Patch, err = section(p.Patch); err != nil {
		return nil, err
	}
	if _, ok := TraceID(p.Trace); !ok {
		p.Trace = ""
	}
	fault := ""
	switch {
	case p.Version == 0:
		fault = "version must be 1 or more"
	case p.Deleted:
		p.Patch = nil
	case p.DesiredVersion == 0 || p.DesiredVersion > p.Version:
		fault = "desiredVersion must be from 1 to version"
	case p.Base >= p.DesiredVersion:
		fault = "base must be below desiredVersion"
	case p.Base > 0 && p.Patch == nil:
		fault = "a base needs a patch"
	}
	if fault != "" {
		return nil, &shadow.InvalidError{Message: messageInvalidPush, Detail: fault}
	}
	return p, nil
}

// Append appends the message as JSON. Patch is taken for JSON as it is.
func (p *DesiredPush) Append(dst []byte) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendUint(dst, p.Version, 10)
	dst = append(dst, `,"base":`...)
	dst = strconv.AppendUint(dst, p.Base, 10)
	dst = append(dst, `,"desiredVersion":`...)
	dst = strconv.AppendUint(dst, p.DesiredVersion, 10)
	if len(p.Patch) > 0 {
		dst = append(append(dst, `,"patch":`...), p.Patch...)
	}
	if p.Deleted {
		dst = append(dst, `,"deleted":true`...)
	}
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, p.Timestamp, 10)
	if p.Trace != "" {
		dst = append(dst, `,"traceparent":`...)
		dst = shadow.AppendString(dst, p.Trace)
	}
	return append(dst, '}')
}
