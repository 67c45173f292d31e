package medium

import (
	"context"
	"sync"

	"gnomon/schema"
)

// Port is one medium as a driver uses it. Whoever has its Turn may call the rest.
type Port interface {
	Take(ctx context.Context, priority int) error
	Give()
	Use(s schema.Source) // adopts what a source says of line and time limits
	Close()              // lets go of the line
}

// Ports are the media that a driver uses, one Port for each however many policies
// share it. The zero value has none.
type Ports[P interface {
	comparable
	Port
}] struct {
	mu    sync.Mutex
	ports map[string]P
}

// key names the medium: policies that differ in time limits share it all the same.
func key(s schema.Source) string { return string(s.Kind) + " " + s.Address + s.Port }

// Take returns the port of a source, taken, which fresh makes if there is none.
// What the source says of line and time limits holds from now on.
func (t *Ports[P]) Take(ctx context.Context, s schema.Source, priority int, fresh func(schema.Source) P) (P, error) {
	for {
		t.mu.Lock()
		p, ok := t.ports[key(s)]
		if !ok {
			if t.ports == nil {
				t.ports = make(map[string]P)
			}
			p = fresh(s)
			t.ports[key(s)] = p
		}
		t.mu.Unlock()
		if err := p.Take(ctx, priority); err != nil {
			var none P
			return none, err
		}
		if t.current(s, p) {
			p.Use(s)
			return p, nil
		}
		p.Give() // released while we waited: another one follows it
	}
}

// current tells whether p, which is taken, is still the port of a source.
func (t *Ports[P]) current(s schema.Source, p P) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ports[key(s)] == p
}

// Release closes the port of a source, if there is one. Whoever polls ends first,
// which takes a few time limits at most; who waits to poll takes the port that
// follows.
func (t *Ports[P]) Release(s schema.Source) {
	t.mu.Lock()
	p, ok := t.ports[key(s)]
	t.mu.Unlock()
	if !ok || p.Take(context.Background(), 0) != nil {
		return
	}
	defer p.Give()
	if !t.current(s, p) {
		return
	}
	p.Close()
	t.mu.Lock()
	delete(t.ports, key(s)) // not before it is closed: never two ports on one medium
	t.mu.Unlock()
}

// Len returns how many media are in use.
func (t *Ports[P]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ports)
}

// SameLine tells whether two sources of one medium have the line set up alike.
// Another speed or parity needs it opened anew.
func SameLine(a, b schema.Source) bool {
	return a.Baud == b.Baud && a.Data == b.Data && a.Parity == b.Parity && a.Stop == b.Stop
}
