package dlt698

import (
	"context"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// Driver is a collect.Driver for DL/T 698.45 on serial lines and over TCP.
type Driver struct {
	openLine func(schema.Source) (medium.Line, error) // tests put their own lines here

	ports medium.Ports[*port]
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceDLT698, schema.SourceDLT698TCP}

// New returns a driver without open ports.
func New() *Driver { return NewOver(medium.Open) }

// NewOver is New with lines of another kind.
func NewOver(open func(schema.Source) (medium.Line, error)) *Driver { return &Driver{openLine: open} }

func (d *Driver) fresh(s schema.Source) *port { return newPort(s, d.openLine) }

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	address, err := wire.ParseAddress(r.Meter.Address)
	if err != nil {
		err = fmt.Errorf("meter %s: %w", r.Meter.ID, err)
	}
	var p *port
	if err == nil {
		p, err = d.ports.Take(ctx, r.Source, r.Priority, d.fresh)
	}
	if err != nil {
		collect.NoValues(out.Values, r.Items, err, time.Now())
		return out, err
	}
	defer p.Give()
	before := p.frames
	err = p.poll(ctx, address, r.Items, out.Values)
	out.Frames = p.frames - before
	return out, err
}

// Release implements collect.Driver.
func (d *Driver) Release(s schema.Source) { d.ports.Release(s) }

var _ collect.Driver = (*Driver)(nil)
