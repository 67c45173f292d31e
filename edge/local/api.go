package local

import (
	"context"
	"encoding/json"
	"time"

	"gnomon/edge/bus"
	"gnomon/edge/bus/devices"
	"gnomon/edge/bus/uplink"
	"gnomon/edge/collect"
	"gnomon/edge/health/alarm"
	"gnomon/edge/health/usage"
	"gnomon/edge/link"
	"gnomon/edge/override"
	"gnomon/edge/readiness"
	"gnomon/edge/readings"
	"gnomon/edge/readings/upward"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/upgrade"
	"gnomon/schema"
	"gnomon/shadow"
)

// Status is what the agent says of itself and of all that it looks after.
type Status struct {
	Node       string      `json:"node"`
	Agent      string      `json:"agent"`
	PID        int         `json:"pid"`
	BootEpoch  uint64      `json:"bootEpoch"`
	StartedAt  time.Time   `json:"startedAt"`
	Cloud      string      `json:"cloud"`
	Components string      `json:"components,omitempty"` // directory that name@version is looked up in
	Link       link.Status `json:"link"`

	Upgrade upgrade.Status `json:"upgrade,omitzero"`
	Bus     *Bus           `json:"bus,omitempty"` // nil: it has none

	Readings readings.Status `json:"readings"` // that are kept
	Upward   upward.Status   `json:"upward"`   // how they go to the cloud
	loop.Status
	Usage  usage.Snapshot `json:"usage"`
	Alarms []alarm.Raised `json:"alarms"` // that are raised, the latest last

	Readiness readiness.Report `json:"readiness"` // for being without the cloud

	Overrides []override.Told `json:"overrides"` // by name
}

// Bus is MQTT on the node, the shadows of its devices, and the connection over
// which it speaks for them.
type Bus struct {
	Problem string         `json:"problem,omitempty"` // why it doesn't listen
	MQTT    bus.Status     `json:"mqtt"`
	Devices devices.Status `json:"devices"`
	Uplink  uplink.Status  `json:"uplink"`
}

// Application is one application as it is, as it is wanted, and what of that
// somebody on the node has changed.
type Application struct {
	loop.Application
	Desired  json.RawMessage `json:"desired,omitempty"` // by the cloud
	Wanted   json.RawMessage `json:"wanted,omitempty"`  // on the node: with the override laid over it
	Override *override.Told  `json:"override,omitempty"`
}

// Uninstalled is the phase of an application of the cloud's that an override has
// taken off the node.
const Uninstalled = "uninstalled"

// Change is what somebody wants of an application: exactly one of the first two.
type Change struct {
	Patch  json.RawMessage `json:"patch,omitempty"`  // a merge patch over what is wanted
	Wanted json.RawMessage `json:"wanted,omitempty"` // all that is wanted
	Reason string          `json:"reason"`
	By     string          `json:"by,omitempty"`  // who it is; default: the user that asks
	For    schema.Duration `json:"for,omitempty"` // the lease; default 2h, or what is left of the override there is
	Dry    bool            `json:"dry,omitempty"` // say what would be done, and do nothing
}

// Outcome is what became of a Change.
type Outcome struct {
	Override *override.Told `json:"override,omitempty"` // in force now; nil: none
	Plan     *loop.DryRun   `json:"plan,omitempty"`     // Dry: what would be done
}

// Entry is how to get into a running application.
type Entry struct {
	Instance string `json:"instance"` // its directory
	Shim     string `json:"shim"`     // the program that enters it
}

// Overrides is what somebody on the node made of applications.
type Overrides interface {
	Make(override.Change) (override.Told, error)
	Check(override.Change) error
	Clear(app string) error
	All() []override.Told
}

// Wanted is what is wanted of an application.
type Wanted interface {
	// Wanted returns what the cloud desires, and what of that is wanted here.
	Wanted(app string) (desired, wanted *shadow.Value)
}

// Meters are what collection policies read, and may let be written.
type Meters interface {
	Write(ctx context.Context, policy, meter, item string, value *shadow.Value) (collect.Value, error)
}

// Usage is what the node and its applications use.
type Usage interface {
	Hurry() // has a sample taken soon
	Usage() usage.Snapshot
}

// Loop is the loop that brings it about.
type Loop interface {
	Restart(ctx context.Context, app string) error
	Plan(ctx context.Context, changes ...loop.Change) (loop.DryRun, error)
}
