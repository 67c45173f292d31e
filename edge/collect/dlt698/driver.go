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
	var err error
	out.Frames, out.Answers, err = d.visit(ctx, r, func(q *reading) error { return q.poll(ctx, r.Items, out.Values) })
	if len(out.Values) == 0 {
		collect.NoValues(out.Values, r.Items, err, time.Now())
	}
	return out, err
}

// Recall implements collect.Historian.
func (d *Driver) Recall(ctx context.Context, r collect.Recall) (out collect.Recalled, err error) {
	out.Rows = make([]map[string]collect.Value, len(r.Times))
	out.Frames, out.Answers, err = d.visit(ctx, r.Request, func(q *reading) error { return q.recall(ctx, r, out.Rows) })
	for i := range out.Rows {
		if out.Rows[i] == nil {
			out.Rows[i] = make(map[string]collect.Value, len(r.Items))
			collect.NoValues(out.Rows[i], r.Items, err, time.Now())
		}
	}
	return out, err
}

// visit gives a meter its turn.
func (d *Driver) visit(ctx context.Context, r collect.Request, do func(q *reading) error) (frames, answers int, err error) {
	address, err := wire.ParseAddress(r.Meter.Address)
	if err != nil {
		return 0, 0, fmt.Errorf("meter %s: %w", r.Meter.ID, err)
	}
	p, err := d.ports.Take(ctx, r.Source, r.Priority, d.fresh)
	if err != nil {
		return 0, 0, err
	}
	defer p.Give()
	frames, answers = p.frames, p.answers
	err = do(p.reading(address))
	return p.frames - frames, p.answers - answers, err
}

// Release implements collect.Driver.
func (d *Driver) Release(s schema.Source) { d.ports.Release(s) }

var _ collect.Historian = (*Driver)(nil)
