package dlt645

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

const (
	maxCalls     = 3000             // of one scan
	maxListening = 10 * time.Second // to the answers to one call
	collision    = 6                // bytes lost that are taken for answers on top of each other, and not for a glitch
)

// Scan finds the addresses of the meters on a line. It first calls whichever
// meter hears it; where several answer, or answers collide, it calls those whose
// addresses end in 00, in 01 and so on, and goes on like that where they still
// do. Who waits for the line meanwhile waits until the scan ends. On an error it
// returns what it has found.
func (d *Driver) Scan(ctx context.Context, s schema.Source) ([]wire.Address, error) {
	const last = 9 // priority
	p, err := d.ports.Take(ctx, s, last, d.fresh)
	if err != nil {
		return nil, err
	}
	defer p.Give()
	scan := scan{port: p, found: make(map[wire.Address]bool)}
	err = scan.below(ctx, wire.Wildcard, 0)
	return slices.SortedFunc(maps.Keys(scan.found), func(a, b wire.Address) int {
		return slices.Compare([]byte(a.String()), []byte(b.String()))
	}), err
}

type scan struct {
	port  *port
	calls int
	found map[wire.Address]bool
}

// below finds the meters whose addresses end in the pairs of a that are known.
func (s *scan) below(ctx context.Context, a wire.Address, known int) error {
	several, err := s.ask(ctx, a)
	if err != nil || !several || known == len(a) {
		return err
	}
	for i := range byte(100) {
		a[known] = i/10<<4 | i%10
		if err := s.below(ctx, a, known+1); err != nil {
			return err
		}
	}
	return nil
}

// ask calls as often as the source allows, until somebody answers.
func (s *scan) ask(ctx context.Context, a wire.Address) (several bool, err error) {
	for range s.port.source.Tries {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if s.calls++; s.calls > maxCalls {
			return false, fmt.Errorf("%w: the line is not understood after %d calls", collect.ErrGarbled, maxCalls)
		}
		heard, collided, err := s.port.call(a)
		if err != nil {
			return false, s.port.broken(err)
		}
		for _, m := range heard {
			s.found[m] = true
		}
		if collided || len(heard) > 0 {
			return collided || len(heard) > 1, nil
		}
	}
	return false, nil
}

// call asks for addresses once, and returns all that are heard. The port must be
// taken.
func (p *port) call(a wire.Address) (heard []wire.Address, collided bool, err error) {
	if err := p.prepare(new(meter)); err != nil {
		return nil, false, err
	}
	p.frames++
	q := question{address: a, control: wire.ReadAddress}
	begin, err := p.send(q)
	if err != nil {
		return nil, false, err
	}
	limit := begin.Add(maxListening)
	for deadline := begin; ; {
		n, err := p.listen(deadline)
		silent := errors.Is(err, medium.ErrSilence)
		if err != nil && !silent {
			return nil, false, err
		}
		for len(p.in) > 0 {
			whole, lost, err := p.next(silent)
			collided = collided || err != nil || lost >= collision
			if !whole {
				break
			}
			if !q.fits(&p.heard) || p.heard.Control.Refused() {
				continue
			}
			if m := wire.Address(p.heard.Data()); !slices.Contains(heard, m) && wire.Wildcard.Matches(m) {
				heard = append(heard, m)
			}
		}
		if silent && n == 0 || time.Now().After(limit) {
			return heard, collided, nil
		}
		if next := time.Now().Add(byteGap); next.After(deadline) {
			deadline = next // others may still answer
		}
	}
}
