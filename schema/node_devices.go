package schema

import (
	"regexp"
	"slices"
	"strings"
)

// NodeDevices are the things that a node speaks for: their shadows are served on
// the node's own bus, also without a cloud.
type NodeDevices struct {
	Names  []string `json:"names,omitempty"`  // at most MaxNodeDevices
	Prefix string   `json:"prefix,omitempty"` // and every thing whose name begins so; at least two characters
}

// MaxNodeDevices bounds the things that a node speaks for.
const MaxNodeDevices = 256

// thing is a thing's name by the contract.
var thing = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)

func (d *NodeDevices) check(c *check) {
	if d == nil {
		return
	}
	if len(d.Names) > MaxNodeDevices {
		c.add("node.devices.names", "too many devices", len(d.Names), MaxNodeDevices)
	}
	for _, n := range d.Names {
		c.need(thing.MatchString(n), "node.devices.names", "must be 1 to 128 of a-z, A-Z, 0-9, :, _ and -", n)
	}
	if d.Prefix != "" {
		c.need(len(d.Prefix) >= 2 && thing.MatchString(d.Prefix), "node.devices.prefix", "must be 2 to 128 of a-z, A-Z, 0-9, :, _ and -", d.Prefix)
	}
}

// Has tells whether a thing is one of the devices.
func (d *NodeDevices) Has(name string) bool {
	return d != nil && (slices.Contains(d.Names, name) || d.Prefix != "" && strings.HasPrefix(name, d.Prefix))
}
