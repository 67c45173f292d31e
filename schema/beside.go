package schema

import (
	"time"

	"gnomon/shadow"
)

// BesideMember is the member of a reported section that has the Beside.
const BesideMember = "beside"

// Beside is the instance of an application that is to take over from the one that
// serves, and runs beside it meanwhile. What the other members of the report say is
// said of the one that serves.
type Beside struct {
	State     string    `json:"state"` // starting, running, exited or failed
	PID       int       `json:"pid,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	Addresses []string  `json:"addresses,omitempty"` // of its own
}

// Value is the instance as it is reported; nil when there is none.
func (n *Beside) Value() *shadow.Value {
	if n == nil {
		return nil
	}
	members := []shadow.Member{{Key: "state", Value: shadow.Text(n.State)}}
	if n.PID > 0 {
		members = append(members, shadow.Member{Key: "pid", Value: shadow.Int(int64(n.PID))})
	}
	if !n.StartedAt.IsZero() {
		members = append(members, shadow.Member{Key: "startedAt", Value: shadow.Text(n.StartedAt.UTC().Format(time.RFC3339Nano))})
	}
	if len(n.Addresses) > 0 {
		values := make([]*shadow.Value, len(n.Addresses))
		for i, a := range n.Addresses {
			values[i] = shadow.Text(a)
		}
		members = append(members, shadow.Member{Key: "addresses", Value: shadow.NewArray(values...)})
	}
	return shadow.NewObject(members...)
}
