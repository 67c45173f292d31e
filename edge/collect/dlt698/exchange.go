package dlt698

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/edge/collect/medium"
)

// client is our address.
const client = 0x10

// piidMask is what of a PIID an answer repeats: not the ACD bit, which says that
// there is something to report.
const piidMask = 0xbf

// ask reads a batch, with all parts of the answer, into all. What came before an
// error stays there.
func (q *reading) ask(ctx context.Context, b batch, all map[slot]found) error {
	r := &reader{batch: b, got: make(map[slot]found, len(b.oads))}
	for more := true; more; {
		var err error
		if more, err = q.exchange(ctx, r); err != nil {
			for s, f := range r.got {
				all[s] = f
			}
			return err
		}
	}
	for s, f := range r.got {
		all[s] = f
	}
	return nil
}

// exchange sends one request as often as the source allows, each time with a
// number of its own, so that nothing is answered twice.
func (p *port) exchange(ctx context.Context, a wire.Address, r *reader) (more bool, err error) {
	for range p.source.Tries {
		if err = ctx.Err(); err != nil {
			return false, err
		}
		more, err = p.once(ctx, a, r)
		if err == nil {
			p.answers++
		}
		if err == nil || errors.Is(err, collect.ErrException) || errors.Is(err, errEndless) {
			return more, err // an answer, and the same next time
		}
		if errors.Is(err, collect.ErrLink) {
			p.Close()
		}
	}
	return false, err
}

func (p *port) once(ctx context.Context, a wire.Address, r *reader) (more bool, err error) {
	if err := p.prepare(); err != nil {
		return false, err
	}
	p.service = (p.service + 1) % wire.ServiceNumbers
	p.apdu = r.request(p.apdu[:0], p.service)
	p.frames++
	if err := p.send(wire.Frame{ByClient: true, Function: wire.UserData, Server: a, Client: client, Data: p.apdu}); err != nil {
		return false, err
	}
	more, err = p.receive(ctx, a, r)
	p.lastUsed = time.Now()
	return more, err
}

// request encodes what is to be asked next.
func (r *reader) request(dst []byte, service byte) []byte {
	switch {
	case r.parts > 0:
		return wire.AppendGetNext(dst, service, uint16(r.number))
	case r.span != nil:
		return r.span.request(dst, service, r.batch)
	case r.batch.record != 0:
		return wire.AppendGetRecord(dst, service, r.batch.record, r.batch.nth, r.batch.oads)
	}
	return wire.AppendGet(dst, service, r.batch.oads...)
}

// maxIdle is how old a TCP connection may grow unused: beyond it servers and
// firewalls tend to have dropped it silently.
const maxIdle = time.Minute

// prepare opens the line, or gives its meters the pause they need and throws
// away what came unasked.
func (p *port) prepare() error {
	if p.line != nil && p.source.Port == "" && time.Since(p.lastUsed) > maxIdle {
		p.Close()
	}
	if p.line == nil {
		l, err := p.openLine(p.source)
		if err != nil {
			return err
		}
		p.line = l
	} else if wait := p.source.Pause.D() - time.Since(p.lastUsed); wait > 0 {
		time.Sleep(wait) // bounded by schema
	}
	p.scanner.Reset()
	p.joiner.Reset()
	var buf [512]byte
	limit := time.Now().Add(p.source.Timeout.D())
	for time.Now().Before(limit) { // a line that never rests is asked all the same: frames are told apart
		if _, err := p.line.Read(buf[:], time.Now()); errors.Is(err, medium.ErrSilence) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// send writes a frame, behind its preamble.
func (p *port) send(f wire.Frame) error {
	p.out = p.out[:0]
	for range *p.source.Preamble {
		p.out = append(p.out, 0xfe)
	}
	var err error
	if p.out, err = f.Append(p.out); err != nil {
		return err
	}
	// The answer's time limit is none for handing over a few bytes, which takes
	// long only on a machine that is busy, or on a connection that is dead.
	if err := p.line.Write(p.out, time.Now().Add(p.source.Timeout.D()+time.Second)); err != nil {
		return err
	}
	p.lastUsed = time.Now()
	return nil
}

// transit is how long the longest answer takes once it has begun.
func (p *port) transit() time.Duration {
	if p.source.Baud == 0 {
		return p.source.Timeout.D()
	}
	const bitsPerByte = 11
	return time.Duration(p.source.MaxFrame) * bitsPerByte * time.Second / time.Duration(p.source.Baud)
}

// receive waits for the answer. Whatever else comes is passed over; if it was
// damaged, that is why there is no answer in the end. The answer must begin
// within the time limit.
func (p *port) receive(ctx context.Context, a wire.Address, r *reader) (more bool, err error) {
	deadline := time.Now().Add(p.source.Timeout.D())
	begun := false // the answer, or something like it
	var spoilt error
	var buf [512]byte
	for {
		n, err := p.line.Read(buf[:], deadline)
		if errors.Is(err, medium.ErrSilence) {
			if p.scanner.Pending() > 0 && !begun {
				begun, deadline = true, deadline.Add(p.transit())
				continue
			}
			return false, p.silence(spoilt)
		}
		if err != nil {
			return false, err
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		p.scanner.Write(buf[:n])
		answered, more, err := p.frame(a, r, &deadline)
		if answered {
			return more, err
		}
		if err != nil {
			spoilt = err
		}
		if time.Now().After(deadline.Add(p.transit())) {
			return false, p.silence(spoilt) // talk that has no end and is not for us
		}
	}
}

// silence is what an answer that didn't come is called.
func (p *port) silence(spoilt error) error {
	switch n := p.scanner.Pending(); {
	case spoilt != nil:
		return fmt.Errorf("%w: %w", collect.ErrGarbled, spoilt)
	case n > 0:
		return fmt.Errorf("%w: cut after %d bytes", collect.ErrGarbled, n)
	}
	return collect.ErrTimeout
}

// frame looks at what has come in. Fragments are confirmed, and give their
// successors a time limit of their own.
func (p *port) frame(a wire.Address, r *reader, deadline *time.Time) (answered, more bool, err error) {
	var f wire.Frame
	var spoilt error
	for {
		ok, err := p.scanner.Next(&f)
		if !ok && err == nil {
			return false, false, spoilt
		}
		if err != nil {
			spoilt = err
			continue
		}
		if !f.FromServer || !f.ByClient || f.Function != wire.UserData || f.Client != client || !a.Covers(f.Server) {
			continue // another's
		}
		apdu := f.Data
		if f.Fragmented {
			var done bool
			if apdu, done, err = p.fragment(&f); err != nil {
				spoilt = err
				continue
			}
			*deadline = time.Now().Add(p.source.Timeout.D())
			if !done {
				continue
			}
		}
		if err := p.answer.Decode(apdu); err != nil {
			spoilt = err
			continue
		}
		if !answers(&p.answer, p.service) {
			continue // late, or again
		}
		r.at = time.Now()
		more, err := r.take(&p.answer)
		if errors.Is(err, errNotOurs) {
			continue
		}
		return true, more, err
	}
}

// answers tells whether a message has the number of a request.
func answers(m *wire.Message, service byte) bool {
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Kind == wire.KindPIID {
			return byte(n.Num)&piidMask == service
		}
	}
	return false
}

// fragment takes a fragment and confirms it.
func (p *port) fragment(f *wire.Frame) (apdu []byte, done bool, err error) {
	var part wire.Fragment
	if err := part.Decode(f.Data); err != nil {
		return nil, false, err
	}
	if apdu, done, err = p.joiner.Add(part); err != nil {
		return nil, false, err
	}
	received := wire.Fragment{Kind: wire.FragmentReceived, Index: part.Index}
	return apdu, done, p.send(wire.Frame{
		ByClient: true, Fragmented: true, Function: wire.UserData, Server: f.Server, Client: client, Data: received.Append(nil),
	})
}
