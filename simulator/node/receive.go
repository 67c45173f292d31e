package node

import (
	"fmt"

	"gnomon/shadow"
	"gnomon/shadow/wire"
	"gnomon/simulator/mqtt"
)

// received handles one message and acknowledges it afterwards.
func (n *Node) received(conn *mqtt.Conn, p mqtt.Packet) error {
	topic, leaf, ok := wire.ParseReply(p.Topic)
	if !ok || topic.Thing != n.name {
		n.Counters.Errors.Add(1)
		return conn.Ack(p)
	}
	name := topic.Shadow
	n.mu.Lock()
	var err error
	switch leaf {
	case "desired":
		err = n.pushed(name, p.Payload)
	case "sync/accepted":
		err = n.answered(p.Payload)
	case "sync/rejected":
		err = n.syncRejected(p.Payload)
	case "update/accepted":
		err = n.accepted(name, p.Payload)
	case "update/rejected":
		err = n.rejected(name, p.Payload)
	}
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", p.Topic, err)
	}
	return conn.Ack(p)
}

// pushed takes a desired change if it follows on from what is held.
func (n *Node) pushed(name string, payload []byte) error {
	push, err := wire.ParseDesiredPush(payload)
	if err != nil {
		n.Counters.Errors.Add(1)
		return n.sync()
	}
	held := n.replicas[name]
	var version uint64
	if held != nil {
		version = held.desiredVersion
	}
	switch {
	case push.Deleted:
		if held != nil && push.Version > version {
			n.drop(name)
		}
		return n.flush()
	case push.DesiredVersion <= version:
		return nil // an old one, doubled or late
	case push.Base != 0 && push.Base != version:
		return n.sync() // one in between was lost
	}
	patch, err := parse(push.Patch)
	if err != nil {
		n.Counters.Errors.Add(1)
		return n.sync()
	}
	var desired *shadow.Value
	if push.Base != 0 {
		desired = held.desired
	}
	if desired = shadow.Merge(desired, patch, push.Timestamp); desired.Len() == 0 {
		desired = nil // a section without members is absent
	}
	n.take(name, desired, push.DesiredVersion)
	return n.flush()
}

// parse reads a section; absent and null are nil.
func parse(text []byte) (*shadow.Value, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	return shadow.Parse(text, shadow.DefaultLimits)
}

// accepted notes that the report in flight is committed.
func (n *Node) accepted(name string, payload []byte) error {
	r := n.replicas[name]
	if r == nil || r.flight == nil || r.flight.token != wire.ClientToken(payload) {
		return nil // somebody else's update
	}
	r.acked, r.flight = r.flight.reported, nil
	if name == "" && !n.isRegistered() {
		close(n.registered)
	}
	return n.flush()
}

func (n *Node) isRegistered() bool {
	select {
	case <-n.registered:
		return true
	default:
		return false
	}
}

// rejected gives the report up; the next sync tells what to send instead.
func (n *Node) rejected(name string, payload []byte) error {
	r := n.replicas[name]
	if r == nil || r.flight == nil || r.flight.token != wire.ClientToken(payload) {
		return nil
	}
	n.Counters.Rejected.Add(1)
	n.problem = fmt.Errorf("report on shadow %q rejected: %.200s", name, payload)
	r.flight, r.held = nil, true
	n.syncAfter(rejectedPause)
	return nil
}

func (n *Node) syncRejected(payload []byte) error {
	if n.asked == nil || n.asked.token != wire.ClientToken(payload) {
		return nil
	}
	n.Counters.Errors.Add(1)
	n.problem = fmt.Errorf("sync rejected: %.200s", payload)
	n.asked = nil
	n.syncAfter(rejectedPause)
	return nil
}
