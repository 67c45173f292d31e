package twin

import (
	"gnomon/cloud/trace"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// outgoing is what a change tells the world once it is committed. It is made
// beforehand, on the goroutine of whoever asked, so that the committer only
// hands it on.
type outgoing struct {
	messages []message
	event    Event
	notice   []byte        // for the other replicas, if there are any
	change   *trace.Change // nil when only reported changed
}

type message struct {
	topic   string
	payload []byte
}

// add encodes a message if anybody listens.
func (o *outgoing) add(s *Service, topic string, encode func([]byte) []byte) {
	if s.cfg.Publisher.Subscribed(topic) {
		o.messages = append(o.messages, message{topic, encode(nil)})
	}
}

// messages lists what is published about a change, in the order of the
// contract: the answer, the documents, the delta, and then our desired push.
func (s *Service) messages(c change, previous, next *shadow.Document, u *shadow.Update) outgoing {
	delta := next.Delta()
	out := outgoing{event: eventOf(c.key, next, u, delta)}
	for _, plain := range [...]bool{false, true} {
		if c.published {
			break
		}
		t := wire.Topic{Thing: c.key.Thing, Shadow: c.key.Shadow, Op: wire.OpUpdate, Plain: plain}
		answered := c.request == nil || c.request.Plain == plain
		if next.Deleted {
			t.Op = wire.OpDelete
			if answered {
				out.add(s, t.Accepted(), func(b []byte) []byte { return wire.AppendDeleted(b, next, token(u)) })
			}
		} else {
			if answered {
				out.add(s, t.Accepted(), func(b []byte) []byte { return wire.AppendAccepted(b, u, next) })
			}
			out.add(s, t.Documents(), func(b []byte) []byte { return wire.AppendDocuments(b, previous, next, u.ClientToken) })
			if delta != nil {
				out.add(s, t.Delta(), func(b []byte) []byte { return wire.AppendDelta(b, next, delta, u.ClientToken) })
			}
		}
		if next.DesiredVersion == next.Version {
			push := pushOf(previous, next, u)
			push.Trace = c.origin.Parent
			out.add(s, t.Desired(), push.Append)
		}
	}
	out.change = s.changeOf(c, next, delta != nil, out.event.Converged)
	return out
}

func token(u *shadow.Update) string {
	if u == nil {
		return ""
	}
	return u.ClientToken
}

// pushOf tells an agent of a change of desired: as the patch that was asked for
// where that says it all, else as the whole section.
func pushOf(previous, next *shadow.Document, u *shadow.Update) *wire.DesiredPush {
	p := &wire.DesiredPush{
		Version: next.Version, DesiredVersion: next.DesiredVersion,
		Deleted: next.Deleted, Timestamp: next.Timestamp,
	}
	switch {
	case next.Deleted:
	case previous.Exists() && previous.Desired != nil && u.Desired.Patch != nil && !u.Desired.Replace && !u.StateNull:
		p.Base = previous.DesiredVersion
		p.Patch = u.Desired.Patch.AppendJSON(nil)
	case next.Desired != nil:
		p.Patch = next.Desired.AppendJSON(nil)
	}
	return p
}

// statusOf is schema.StatusOf with the delta already known for free shadows.
func statusOf(shadowName string, d *shadow.Document, delta *shadow.Value) schema.Status {
	if kind, _ := schema.KindOf(shadowName); kind == schema.KindFree || d.Deleted {
		return schema.Status{Converged: delta == nil}
	}
	return schema.StatusOf(shadowName, d)
}
