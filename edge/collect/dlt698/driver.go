package dlt698

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// Driver is a collect.Driver for DL/T 698.45 on serial lines and over TCP.
type Driver struct {
	openLine func(schema.Source) (medium.Line, error) // tests put their own lines here

	mu    sync.Mutex
	ports map[string]*port
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceDLT698, schema.SourceDLT698TCP}

// New returns a driver without open ports.
func New() *Driver { return &Driver{openLine: medium.Open, ports: make(map[string]*port)} }

// key names the medium: policies that differ in timeouts share it all the same.
func key(s schema.Source) string { return string(s.Kind) + " " + s.Address + s.Port }

// open returns the port of a source, taken. What the source says of line and
// time limits holds from now on.
func (d *Driver) open(ctx context.Context, s schema.Source, priority int) (*port, error) {
	for {
		d.mu.Lock()
		p := d.ports[key(s)]
		if p == nil {
			p = newPort(s, d.openLine)
			d.ports[key(s)] = p
		}
		d.mu.Unlock()
		if err := p.Take(ctx, priority); err != nil {
			return nil, err
		}
		if !p.released {
			p.use(s)
			return p, nil
		}
		p.Give() // closed while we waited: another one follows it
	}
}

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	address, err := wire.ParseAddress(r.Meter.Address)
	if err != nil {
		err = fmt.Errorf("meter %s: %w", r.Meter.ID, err)
	}
	var p *port
	if err == nil {
		p, err = d.open(ctx, r.Source, r.Priority)
	}
	if err != nil {
		missing(out.Values, r.Items, err, time.Now())
		return out, err
	}
	defer p.Give()
	before := p.frames
	err = p.poll(ctx, address, r.Items, out.Values)
	out.Frames = p.frames - before
	return out, err
}

func missing(values map[string]collect.Value, items []schema.Item, err error, at time.Time) {
	for _, it := range items {
		values[it.Name] = collect.Value{At: at, Err: err}
	}
}

// Release implements collect.Driver.
func (d *Driver) Release(s schema.Source) {
	d.mu.Lock()
	p := d.ports[key(s)]
	d.mu.Unlock()
	if p == nil {
		return
	}
	if p.Take(context.Background(), 0) != nil { // whoever polls ends first, which takes a few time limits at most
		return
	}
	defer p.Give()
	if p.released {
		return
	}
	p.released = true
	p.close()
	d.mu.Lock()
	delete(d.ports, key(s)) // not before it is closed: never two ports on one medium
	d.mu.Unlock()
}

var _ collect.Driver = (*Driver)(nil)
