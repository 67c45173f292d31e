package modbus

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// Driver is a collect.Driver for the three kinds of Modbus source.
type Driver struct {
	newPort func(schema.Source) *port // tests put their own transports here

	ports medium.Ports[*port]
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceModbusTCP, schema.SourceModbusRTU, schema.SourceModbusRTUOver}

// New returns a driver without open ports.
func New() *Driver { return &Driver{newPort: newPort} }

// NewOver is New with RTU lines of another kind.
func NewOver(open func(schema.Source) (medium.Line, error)) *Driver {
	return &Driver{newPort: func(s schema.Source) *port {
		p := newPort(s)
		if t, ok := p.transport.(*rtu); ok {
			t.open = open
		}
		return p
	}}
}

// Use implements medium.Port.
func (p *port) Use(s schema.Source) {
	old := p.source
	p.source = s
	switch t := p.transport.(type) {
	case *tcp:
		t.source = s
	case *rtu:
		t.source = s
		if !medium.SameLine(old, s) {
			t.close()
		}
	}
}

// Close implements medium.Port.
func (p *port) Close() { p.transport.close() }

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	p, err := d.ports.Take(ctx, r.Source, r.Priority, d.newPort)
	if err != nil {
		collect.NoValues(out.Values, r.Items, err, time.Now())
		return out, err
	}
	defer p.Give()
	sent, came := p.frames, p.answers
	err = p.poll(ctx, r, out.Values)
	out.Frames, out.Answers = p.frames-sent, p.answers-came
	return out, err
}

// poll reads all blocks of one meter. The port must be taken.
func (p *port) poll(ctx context.Context, r collect.Request, values map[string]collect.Value) error {
	id := byte(r.Meter.Unit)
	u := p.unit(id)
	now := time.Now()
	if err := u.Err(now); err != nil {
		collect.NoValues(values, r.Items, err, now)
		return err
	}
	u.forbid(r.Meter.Forbids())
	pl, failed := p.plan(ctx, id, r.Items)
	gone := serious(failed) // the failure after which the meter isn't asked any more
	work := u.group(pl.all, *r.Source.MaxHole)
	for len(work) > 0 {
		b := work[0]
		work = work[1:]
		if gone != nil {
			pl.missed(b, gone)
			continue
		}
		data, err := p.read(ctx, id, b)
		var refused *Exception
		if errors.As(err, &refused) && refused.Code == illegalAddress {
			if parts := b.parts(u.cuts, *r.Source.MaxHole); len(parts) > 0 {
				work = append(parts, work...)
				continue
			}
		}
		if err != nil {
			pl.missed(b, err)
			failed = cmp.Or(failed, err)
			gone = serious(err)
			continue
		}
		pl.answered(b, data)
	}
	failed = cmp.Or(failed, pl.take(u, values))
	u.Note(cmp.Or(gone, failed), time.Now())
	return failed
}

// serious returns a failure after which a meter isn't asked any more.
func serious(err error) error {
	if errors.Is(err, collect.ErrException) {
		return nil
	}
	return err
}

// Release implements collect.Driver.
func (d *Driver) Release(s schema.Source) { d.ports.Release(s) }

var _ collect.Driver = (*Driver)(nil)
