package dlt698

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/schema"
)

// Carrier takes requests to a meter that is on no line of ours, such as one
// behind a CCO, and brings its answers. What it brings answers what it took.
type Carrier interface {
	// Carry takes n requests, one after the other in content, and returns the
	// frames that answer them.
	Carry(ctx context.Context, content []byte, n int) ([]byte, error)
}

// Carried is one meter that is reached through a Carrier. It isn't safe for
// concurrent use.
type Carried struct {
	address  wire.Address
	maxFrame int
	known    *meter
	service  byte // number of the request sent last
	scanner  wire.Scanner
	joiner   wire.Joiner
	message  wire.Message
}

// NewCarried returns a meter of which nothing is known yet; frames for it have
// maxFrame bytes at the most.
func NewCarried(address string, maxFrame int) (*Carried, error) {
	a, err := wire.ParseAddress(address)
	if err == nil && a.Type != wire.Single {
		err = wire.ErrAddress
	}
	if err != nil {
		return nil, fmt.Errorf("meter %s: %w", address, err)
	}
	return &Carried{address: a, maxFrame: maxFrame, known: newMeter(), service: byte(rand.N(wire.ServiceNumbers))}, nil
}

// Absent tells whether the meter is left out now, and why.
func (c *Carried) Absent(now time.Time) error { return c.known.Err(now) }

// Poll reads items into values, which has all of them in the end. The error is
// the first thing that went wrong.
func (c *Carried) Poll(ctx context.Context, by Carrier, items []schema.Item, values map[string]collect.Value) error {
	return c.reading(by).poll(ctx, items, values)
}

// Recall reads what the meter keeps of r's times into rows, one for each. The
// error is the first thing that went wrong.
func (c *Carried) Recall(ctx context.Context, by Carrier, r collect.Recall, rows []map[string]collect.Value) error {
	return c.reading(by).recall(ctx, r, rows)
}

func (c *Carried) reading(by Carrier) *reading {
	return &reading{c.known, c.maxFrame, func(ctx context.Context, r *reader) (bool, error) { return c.exchange(ctx, by, r) }}
}

// exchange carries one request, and takes its answer, which may come in fragments.
func (c *Carried) exchange(ctx context.Context, by Carrier, r *reader) (more bool, err error) {
	c.service = (c.service + 1) % wire.ServiceNumbers
	c.joiner.Reset()
	f := wire.Frame{ByClient: true, Function: wire.UserData, Server: c.address, Client: client, Data: r.request(nil, c.service)}
	for range maxParts {
		content, err := f.Append(nil)
		if err != nil {
			return false, err
		}
		back, err := by.Carry(ctx, content, 1)
		if err != nil {
			return false, err
		}
		apdu, next, err := c.parse(back)
		switch {
		case err != nil:
			return false, err
		case next != nil:
			f = *next
			continue
		}
		return c.take(r, apdu)
	}
	return false, errEndless
}

func (c *Carried) take(r *reader, apdu []byte) (more bool, err error) {
	if err := c.message.Decode(apdu); err != nil {
		return false, fmt.Errorf("%w: %w", collect.ErrGarbled, err)
	}
	if !answers(&c.message, c.service) {
		return false, fmt.Errorf("%w: %w", collect.ErrGarbled, errNotOurs)
	}
	r.at = time.Now()
	if more, err = r.take(&c.message); errors.Is(err, errNotOurs) {
		err = fmt.Errorf("%w: %w", collect.ErrGarbled, err)
	}
	return more, err
}

// parse finds the meter's answer in what came back. next is the confirmation of
// a fragment that others follow.
func (c *Carried) parse(back []byte) (apdu []byte, next *wire.Frame, err error) {
	c.scanner.Reset()
	c.scanner.Write(back)
	var f wire.Frame
	var spoilt error
	for {
		ok, err := c.scanner.Next(&f)
		if !ok && err == nil {
			break
		}
		if err != nil {
			spoilt = err
			continue
		}
		if !f.FromServer || !f.ByClient || f.Function != wire.UserData || f.Client != client || !c.address.Covers(f.Server) {
			continue
		}
		if !f.Fragmented {
			return f.Data, nil, nil
		}
		var part wire.Fragment
		if err = part.Decode(f.Data); err == nil {
			var done bool
			if apdu, done, err = c.joiner.Add(part); err == nil && done {
				return apdu, nil, nil
			}
		}
		if err != nil {
			spoilt = err
			continue
		}
		received := wire.Fragment{Kind: wire.FragmentReceived, Index: part.Index}
		next = &wire.Frame{ByClient: true, Fragmented: true, Function: wire.UserData, Server: c.address, Client: client, Data: received.Append(nil)}
	}
	if next == nil {
		if spoilt == nil {
			spoilt = errNotOurs
		}
		err = fmt.Errorf("%w: %w", collect.ErrGarbled, spoilt)
	}
	return nil, next, err
}
