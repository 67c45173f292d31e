package dlt645

import (
	"context"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// Driver is a collect.Driver for DL/T 645 on a serial line and over TCP.
type Driver struct {
	dial func(schema.Source) (medium.Line, error) // tests put their own lines here

	ports medium.Ports[*port]
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceDLT645, schema.SourceDLT645TCP}

// New returns a driver without open ports.
func New() *Driver { return NewOver(medium.Open) }

// NewOver is New with lines of another kind.
func NewOver(open func(schema.Source) (medium.Line, error)) *Driver { return &Driver{dial: open} }

func (d *Driver) fresh(s schema.Source) *port {
	return &port{source: s, dial: d.dial, meters: make(map[wire.Address]*meter)}
}

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	a, err := wire.ParseAddress(r.Meter.Address)
	if err == nil && (a.Padding() > 0 || a == wire.Broadcast) {
		err = wire.ErrAddress // refused by schema; an answer couldn't be told to be this meter's
	}
	if err != nil {
		collect.NoValues(out.Values, r.Items, err, time.Now())
		return out, err
	}
	p, err := d.ports.Take(ctx, r.Source, r.Priority, d.fresh)
	if err != nil {
		collect.NoValues(out.Values, r.Items, err, time.Now())
		return out, err
	}
	defer p.Give()
	before := p.frames
	err = p.poll(ctx, a, r.Items, out.Values)
	out.Frames = p.frames - before
	return out, err
}

// Release implements collect.Driver.
func (d *Driver) Release(s schema.Source) { d.ports.Release(s) }

var _ collect.Driver = (*Driver)(nil)
