package schema

import (
	"time"
)

// Node is what the member node of a classic shadow's desired section says, with
// defaults applied.
type Node struct {
	Site   string            `json:"site"`   // the place it stands at
	Labels map[string]string `json:"labels"` // for selectors
	Sync   NodeSync          `json:"sync"`

	Sampling Sampling     `json:"sampling"`          // how often use is measured and told
	Alarms   []Alarm      `json:"alarms"`            // at most MaxAlarms, each of another name
	Disk     Disk         `json:"disk"`              // how much of it is kept free
	Agent    *NodeAgent   `json:"agent,omitempty"`   // the version it is to run; nil: the one it has
	Devices  *NodeDevices `json:"devices,omitempty"` // that it speaks for; nil: none
	Readings NodeReadings `json:"readings"`          // how they go upward
}

// NodeSync sets how often a node compares its state with the cloud's even when
// nothing seems to have changed.
type NodeSync struct {
	Interval Duration `json:"interval"` // 5s to 24h, jittered by ±20 %; default 1m
}

// Limits of a node document.
const (
	MaxLabels = 64
	MaxSite   = 128
)

var label = lazily(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)

// ParseNode decodes, completes and validates the member node of a classic
// shadow's desired section. The error is an *Error.
func ParseNode(desired []byte) (*Node, error) {
	n := new(Node)
	if err := decode(KindNode, desired, n); err != nil {
		return nil, err
	}
	c := &check{kind: KindNode}
	setDefault(&n.Sync.Interval, Duration(time.Minute))
	within(c, "node.sync.interval", n.Sync.Interval, Duration(5*time.Second), Duration(24*time.Hour))
	if len(n.Site) > MaxSite {
		c.add("node.site", "too many bytes", len(n.Site), MaxSite)
	}
	if len(n.Labels) > MaxLabels {
		c.add("node.labels", "too many labels", len(n.Labels), MaxLabels)
	}
	for k, v := range n.Labels {
		c.need(label.MatchString(k), "node.labels."+k, "a label's name is 1 to 63 of letters, digits and ._/-", k)
		c.need(len(v) <= 256, "node.labels."+k, "a label's value has at most 256 bytes", len(v))
	}
	n.Sampling.complete(c)
	completeAlarms(c, n.Alarms)
	n.Disk.complete(c)
	n.Agent.check(c)
	n.Devices.check(c)
	n.Readings.check(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	return n, nil
}
