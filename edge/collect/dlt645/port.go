package dlt645

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// port is one medium, shared by all policies and meters on it. One request is
// under way at a time.
type port struct {
	medium.Turn // whoever has it may use what follows
	source      schema.Source
	dial        func(schema.Source) (medium.Line, error)
	line        medium.Line // nil = closed
	meters      map[wire.Address]*meter
	lastUsed    time.Time
	frames      int
	answers     int

	request, heard wire.Frame
	out            []byte // the request as it is sent
	in             []byte // what has come and isn't yet looked through
	data           []byte // an answer, joined
}

// meter is what is known of one meter on a port.
type meter struct {
	medium.Absence
	doubt   bool                // an answer of it may still be under way
	lacks   map[wire.DI]refusal // identifiers that it doesn't have
	entries map[wire.DI]int     // how long the data of its blocks is

	interval time.Duration // between its load records; 0 = not known
	passed   time.Time     // the latest time that it has something of, by its clock
}

// pass learns that the meter has something of a time.
func (m *meter) pass(at time.Time) {
	if at.After(m.passed) {
		m.passed = at
	}
}

// refusal is remembered for a while, so that it doesn't cost time in every cycle.
type refusal struct {
	err  error
	till time.Time
}

const (
	lacksFor     = 10 * time.Minute // how long it is believed that a meter doesn't have an identifier
	maxMeters    = 4096             // of which a port knows something
	maxFollowUps = 32               // frames after the first of one answer
)

// Use implements medium.Port.
func (p *port) Use(s schema.Source) {
	old := p.source
	p.source = s
	if !medium.SameLine(old, s) {
		p.Close()
	}
}

// Close implements medium.Port.
func (p *port) Close() {
	if p.line != nil {
		p.line.Close()
		p.line = nil
	}
}

func (p *port) meter(a wire.Address) *meter {
	m := p.meters[a]
	if m == nil {
		if len(p.meters) >= maxMeters {
			clear(p.meters) // costs a few questions that were answered before
		}
		m = newMeter()
		p.meters[a] = m
	}
	return m
}

func newMeter() *meter {
	return &meter{lacks: make(map[wire.DI]refusal), entries: make(map[wire.DI]int)}
}

// Refusal is a meter's answer that it doesn't carry out a request.
type Refusal struct {
	DI   wire.DI
	Word wire.MeterError
}

func (e *Refusal) Error() string { return fmt.Sprintf("%s: %v", e.DI, e.Word) }

// Unwrap makes it a collect.ErrException, and gives the error word.
func (e *Refusal) Unwrap() []error { return []error{collect.ErrException, e.Word} }

// question is what an answer has to fit.
type question struct {
	meter    *meter // nil: of nobody in particular
	address  wire.Address
	control  wire.Control
	di       wire.DI
	sequence byte // of a follow-up

	parameters []byte // of a reading
}

// read asks a meter for an identifier. What it returns is overwritten by the
// next read. The port must be taken.
func (p *port) read(ctx context.Context, a wire.Address, di wire.DI, parameters ...byte) ([]byte, error) {
	q := question{meter: p.meter(a), address: a, control: wire.Read, di: di, parameters: parameters}
	if err := p.try(ctx, q); err != nil {
		return nil, err
	}
	p.data = append(p.data[:0], p.heard.Data()[4:]...)
	for p.heard.Control.More() {
		if q.sequence >= maxFollowUps || len(p.data) > schema.MaxAnswerBytes {
			return nil, fmt.Errorf("%w: %s has more than %d follow-up frames or %d bytes", collect.ErrGarbled, di, maxFollowUps, schema.MaxAnswerBytes)
		}
		q.control, q.sequence = wire.ReadMore, q.sequence+1
		if err := p.try(ctx, q); err != nil {
			return nil, err
		}
		part := p.heard.Data()
		p.data = append(p.data, part[4:len(part)-1]...)
	}
	return p.data, nil
}

// try asks as often as the source allows. A refusal is an answer, and the same
// next time.
func (p *port) try(ctx context.Context, q question) (err error) {
	for range p.source.Tries {
		if err = ctx.Err(); err != nil {
			return err
		}
		if err = p.exchange(q); err == nil {
			p.answers++
			break
		}
	}
	if err == nil && p.heard.Control.Refused() {
		word, err := p.heard.Refusal()
		if err != nil {
			return fmt.Errorf("%w: %w", collect.ErrGarbled, err) // not reached: fits looks at it
		}
		return &Refusal{q.di, word}
	}
	return err
}

// build makes the request of a question.
func (p *port) build(q question) {
	switch q.control {
	case wire.ReadMore:
		p.request.AskMore(q.address, q.di, q.sequence)
	case wire.ReadAddress:
		p.request.AskAddress(q.address)
	default:
		if err := p.request.AskRead(q.address, q.di, q.parameters...); err != nil {
			panic(err) // not reached: it always fits
		}
	}
	p.out = p.request.Append(p.out[:0], *p.source.Preamble)
}

// fits tells whether a frame answers a question.
func (q question) fits(f *wire.Frame) bool {
	if !f.Control.IsAnswer() || f.Control.Function() != q.control || !q.address.Matches(f.Address) {
		return false
	}
	if f.Control.Refused() {
		return len(f.Data()) == 1
	}
	if q.control == wire.ReadAddress {
		return len(f.Data()) == len(wire.Address{})
	}
	di, rest, err := wire.DIOf(f.Data())
	if err != nil || di != q.di {
		return false
	}
	return q.control != wire.ReadMore || len(rest) > 0 && rest[len(rest)-1] == q.sequence
}

// lacking tells whether a refusal means that the meter doesn't have something.
func lacking(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Word&wire.NoSuchData != 0
}
