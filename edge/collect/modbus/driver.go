package modbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Driver is a collect.Driver for the three kinds of Modbus source.
type Driver struct {
	mu    sync.Mutex
	ports map[string]*port
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceModbusTCP, schema.SourceModbusRTU, schema.SourceModbusRTUOver}

// New returns a driver without open ports.
func New() *Driver { return &Driver{ports: make(map[string]*port)} }

// key names the medium: policies that differ in timeouts share it all the same.
func key(s schema.Source) string { return string(s.Kind) + " " + s.Address + s.Port }

// open returns the port of a source, taken. What the source says of line and
// time limits holds from now on.
func (d *Driver) open(ctx context.Context, s schema.Source) (*port, error) {
	d.mu.Lock()
	p := d.ports[key(s)]
	if p == nil {
		p = newPort(s)
		d.ports[key(s)] = p
	}
	d.mu.Unlock()
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	p.use(s)
	return p, nil
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
	p, err := d.open(ctx, r.Source)
	if err != nil {
		missing(out.Values, r.Items, err, time.Now())
		return out, err
	}
	defer p.give()
	before := p.frames
	err = p.poll(ctx, r, out.Values)
	out.Frames = p.frames - before
	return out, err
}

// poll reads all blocks of one meter. The port must be taken.
func (p *port) poll(ctx context.Context, r collect.Request, values map[string]collect.Value) error {
	u := p.unit(byte(r.Meter.Unit))
	now := time.Now()
	if now.Before(u.skipTill) {
		err := fmt.Errorf("%w: next try in %s", collect.ErrSkipped, u.skipTill.Sub(now).Round(time.Second))
		missing(values, r.Items, err, now)
		return err
	}
	if u.cuts == nil {
		u.cuts = make(cuts)
	}
	var failed error
	work := group(r.Items, *r.Source.MaxHole, u.cuts)
	for len(work) > 0 {
		b := work[0]
		work = work[1:]
		if failed != nil && !errors.Is(failed, collect.ErrException) {
			missing(values, b.items, failed, time.Now()) // the meter is not there: don't ask for the rest
			continue
		}
		data, err := p.read(ctx, byte(r.Meter.Unit), b)
		var refused *Exception
		if errors.As(err, &refused) && refused.Code == illegalAddress {
			if parts, ok := b.halves(u.cuts, *r.Source.MaxHole); ok {
				work = append(parts, work...)
				continue
			}
		}
		if err != nil {
			missing(values, b.items, err, time.Now())
			if failed == nil {
				failed = err
			}
			continue
		}
		at := time.Now()
		for _, it := range b.items {
			v, err := decode(b, data, it)
			values[it.Name] = collect.Value{Value: v, At: at, Err: err}
		}
	}
	u.note(failed, time.Now())
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
	delete(d.ports, key(s))
	d.mu.Unlock()
	if p == nil {
		return
	}
	<-p.turn // whoever polls ends first; nobody can find the port any more
	p.transport.close()
}

var _ collect.Driver = (*Driver)(nil)
