package modbus

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Driver is a collect.Driver for the three kinds of Modbus source.
type Driver struct {
	newPort func(schema.Source) *port // tests put their own transports here

	mu    sync.Mutex
	ports map[string]*port
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceModbusTCP, schema.SourceModbusRTU, schema.SourceModbusRTUOver}

// New returns a driver without open ports.
func New() *Driver { return &Driver{newPort: newPort, ports: make(map[string]*port)} }

// key names the medium: policies that differ in timeouts share it all the same.
func key(s schema.Source) string { return string(s.Kind) + " " + s.Address + s.Port }

// open returns the port of a source, taken. What the source says of line and
// time limits holds from now on.
func (d *Driver) open(ctx context.Context, s schema.Source, priority int) (*port, error) {
	for {
		d.mu.Lock()
		p := d.ports[key(s)]
		if p == nil {
			p = d.newPort(s)
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

// use adopts a source's settings. Another speed or parity needs the line opened
// anew.
func (p *port) use(s schema.Source) {
	old := p.source
	p.source = s
	switch t := p.transport.(type) {
	case *tcp:
		t.source = s
	case *rtu:
		t.source = s
		if old.Baud != s.Baud || old.Data != s.Data || old.Parity != s.Parity || old.Stop != s.Stop {
			t.close()
		}
	}
}

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	p, err := d.open(ctx, r.Source, r.Priority)
	if err != nil {
		missing(out.Values, r.Items, err, time.Now())
		return out, err
	}
	defer p.Give()
	before := p.frames
	err = p.poll(ctx, r, out.Values)
	out.Frames = p.frames - before
	return out, err
}

// poll reads all blocks of one meter. The port must be taken.
func (p *port) poll(ctx context.Context, r collect.Request, values map[string]collect.Value) error {
	u := p.unit(byte(r.Meter.Unit))
	now := time.Now()
	if err := u.Err(now); err != nil {
		missing(values, r.Items, err, now)
		return err
	}
	if u.cuts == nil {
		u.cuts = make(cuts)
	}
	var failed, gone error // the first failure; the one after which the meter isn't asked any more
	work := group(r.Items, *r.Source.MaxHole, u.cuts)
	for len(work) > 0 {
		b := work[0]
		work = work[1:]
		if gone != nil {
			missing(values, b.items, gone, time.Now())
			continue
		}
		data, err := p.read(ctx, byte(r.Meter.Unit), b)
		var refused *Exception
		if errors.As(err, &refused) && refused.Code == illegalAddress {
			if parts := b.parts(u.cuts, *r.Source.MaxHole); len(parts) > 0 {
				work = append(parts, work...)
				continue
			}
		}
		if err != nil {
			missing(values, b.items, err, time.Now())
			if failed == nil {
				failed = err
			}
			if !errors.Is(err, collect.ErrException) {
				gone = err
			}
			continue
		}
		at := time.Now()
		for _, it := range b.items {
			v, err := decode(b, data, it)
			values[it.Name] = collect.Value{Value: v, At: at, Err: err}
		}
	}
	u.Note(cmp.Or(gone, failed), time.Now())
	return failed
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
	p.transport.close()
	d.mu.Lock()
	delete(d.ports, key(s)) // not before it is closed: never two ports on one medium
	d.mu.Unlock()
}

var _ collect.Driver = (*Driver)(nil)
