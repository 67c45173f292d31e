package twin

import (
	"context"
	"encoding/binary"
	"time"

	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// origin is where a change of desired comes from, once it has been given a trace.
type origin struct {
	trace.Origin
	written time.Time
}

// traced gives a change of desired its trace, if it comes without, and notes when
// it was written. Changes of reported alone have none, and cost nothing.
func (s *Service) traced(ctx context.Context, c *change, next *shadow.Document) {
	if s.cfg.Traces == nil || next.DesiredVersion != next.Version || !c.origin.written.IsZero() {
		return
	}
	if c.origin.Parent == "" {
		c.origin.Origin = trace.From(ctx)
	}
	c.origin.Parent = trace.ParentOr(c.origin.Parent)
	if c.origin.Door == "" {
		c.origin.Door = trace.HTTP
		if c.request != nil {
			c.origin.Door = trace.MQTT
		}
	}
	c.origin.written = s.cfg.Now()
}

// changeOf is a change of desired as traces have it, nil when it has none.
func (s *Service) changeOf(c change, next *shadow.Document, delta, met bool) *trace.Change {
	if s.cfg.Traces == nil || c.origin.Parent == "" || next.DesiredVersion != next.Version {
		return nil
	}
	return &trace.Change{
		Key: c.key, Version: next.Version, Parent: c.origin.Parent, By: c.principal.String(), Door: c.origin.Door,
		Deleted: next.Deleted, Written: c.origin.written, Met: !next.Deleted && met, Sent: s.cfg.Traces.SentTo(c.key, delta),
	}
}

// tellTraces has the traces hear of a committed document before anybody else can
// act on it.
func (s *Service) tellTraces(out *outgoing, next *shadow.Document, elsewhere trace.Sent) {
	if out.change != nil {
		s.cfg.Traces.Committed(*out.change, elsewhere)
	}
	if out.event.Reported {
		s.cfg.Traces.Reported(store.Key{Thing: out.event.Thing, Shadow: out.event.Shadow}, next, out.event.Phase, out.event.Converged)
	}
}

// appendTrace appends what others need of a change's trace to a notice: as the
// parts before it, traceparent, who wrote it and by which door, and then, as
// uvarints, the nanosecond since 1970 at which, and how many clients were sent it:
// known (0 or 1), pushes, deltas, those that acknowledge.
func appendTrace(dst []byte, c *trace.Change) []byte {
	if c == nil {
		return dst
	}
	for _, part := range []string{c.Parent, c.By, string(c.Door)} {
		dst = append(binary.AppendUvarint(dst, uint64(len(part))), part...)
	}
	known := uint64(0)
	if c.Sent.Known {
		known = 1
	}
	for _, n := range []uint64{uint64(c.Written.UnixNano()), known, uint64(c.Sent.Push), uint64(c.Sent.Delta), uint64(c.Sent.Acknowledging)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

// maxSent bounds what is believed of another replica's clients.
const maxSent = 1 << 30

// parseTrace reads what appendTrace wrote. Nothing is fine: a replica of an
// earlier version knows of no traces.
func (n *noticed) parseTrace(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	var parts [3]string
	for i := range parts {
		size, used := binary.Uvarint(b)
		if used <= 0 || size > uint64(len(b)-used) {
			return ErrNotice
		}
		parts[i], b = string(b[used:used+int(size)]), b[used+int(size):]
	}
	var numbers [5]uint64
	for i := range numbers {
		v, used := binary.Uvarint(b)
		if used <= 0 {
			return ErrNotice
		}
		numbers[i], b = v, b[used:]
	}
	if _, ok := wire.TraceID(parts[0]); !ok {
		return nil
	}
	n.c.origin = origin{trace.Origin{Parent: parts[0], Door: trace.Door(parts[2])}, time.Unix(0, int64(numbers[0]&(1<<63-1)))}
	n.by = parts[1]
	n.elsewhere = trace.Sent{
		Known: numbers[1] != 0, Push: int(min(numbers[2], maxSent)), Delta: int(min(numbers[3], maxSent)), Acknowledging: int(min(numbers[4], maxSent)),
	}
	return nil
}
