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
	var err error
	out.Frames, out.Answers, err = d.visit(ctx, r, func(p *port, a wire.Address) error { return p.poll(ctx, a, r.Items, out.Values) })
	if len(out.Values) == 0 {
		collect.NoValues(out.Values, r.Items, err, time.Now())
	}
	return out, err
}

// Recall implements collect.Historian.
func (d *Driver) Recall(ctx context.Context, r collect.Recall) (out collect.Recalled, err error) {
	out.Rows = make([]map[string]collect.Value, len(r.Times))
	out.Frames, out.Answers, err = d.visit(ctx, r.Request, func(p *port, a wire.Address) error {
		return p.meter(a).recall(ctx, onLine{p, a}, r, out.Rows)
	})
	for i := range out.Rows {
		if out.Rows[i] == nil {
			out.Rows[i] = make(map[string]collect.Value, len(r.Items))
			collect.NoValues(out.Rows[i], r.Items, err, time.Now())
		}
	}
	return out, err
}

// visit gives a meter its turn.
func (d *Driver) visit(ctx context.Context, r collect.Request, do func(p *port, a wire.Address) error) (frames, answers int, err error) {
	a, err := wire.ParseAddress(r.Meter.Address)
	if err == nil && (a.Padding() > 0 || a == wire.Broadcast) {
		err = wire.ErrAddress // refused by schema; an answer couldn't be told to be this meter's
	}
	if err != nil {
		return 0, 0, err
	}
	p, err := d.ports.Take(ctx, r.Source, r.Priority, d.fresh)
	if err != nil {
		return 0, 0, err
	}
	defer p.Give()
	frames, answers = p.frames, p.answers
	err = do(p, a)
	return p.frames - frames, p.answers - answers, err
}

// Release implements collect.Driver.
func (d *Driver) Release(s schema.Source) { d.ports.Release(s) }

var _ collect.Historian = (*Driver)(nil)
