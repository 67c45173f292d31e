package dlt645

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/edge/collect/medium"
)

const (
	byteGap   = 500 * time.Millisecond // between two bytes of one frame (DL/T 645-2007)
	rest      = 2                      // time limits that an answer is waited for which was given up
	slowest   = 1200                   // baud, behind a serial server which doesn't say
	bitsAByte = 11
)

// airtime is how long bytes take on the line.
func (p *port) airtime(bytes int) time.Duration {
	baud := p.source.Baud
	if baud == 0 {
		baud = slowest
	}
	return time.Duration(bytes) * bitsAByte * time.Second / time.Duration(baud)
}

// exchange asks once, and waits for the answer, which is then in p.heard.
//
// After anything went wrong with a meter, its answer may still be under way.
// Then the line is first listened to until it has been silent for a while; and
// the next answer of that meter is believed only if no other follows it for a
// whole time limit, because if it was the late one, the true one is still to
// come: meters answer in order. A refusal doesn't say what is refused: so that a
// copy of it isn't taken for the next refusal, it is always waited for.
func (p *port) exchange(q question) error {
	if err := p.prepare(q.meter); err != nil {
		return err
	}
	p.frames++
	doubtful := q.meter.doubt
	q.meter.doubt = true // until the answer is in
	begin, err := p.send(q)
	if err != nil {
		return p.broken(err)
	}
	if err := p.receive(q, begin); err != nil {
		return p.broken(err)
	}
	if doubtful || p.heard.Control.Refused() {
		if err := p.alone(doubtful); err != nil {
			return p.broken(err)
		}
	}
	q.meter.doubt = false
	return nil
}

// send sends the request of a question, and returns until when the answer has
// to begin.
func (p *port) send(q question) (begin time.Time, err error) {
	p.build(q)
	begin = time.Now().Add(p.airtime(len(p.out)) + p.source.Timeout.D())
	// The answer's time limit is none for handing over a few bytes, which takes
	// long only on a machine that is busy, or on a connection that is dead.
	err = p.line.Write(p.out, begin.Add(time.Second))
	p.lastUsed = time.Now()
	return begin, err
}

// prepare opens the line, or gives its meters the pause they need and throws
// away what came unasked; or brings the line to rest, where an answer may still
// come.
func (p *port) prepare(m *meter) error {
	quiet := time.Duration(0)
	if p.line == nil {
		line, err := p.dial(p.source)
		if err != nil {
			return err
		}
		p.line = line
		quiet = rest * p.source.Timeout.D()
	} else if m.doubt {
		quiet = rest * p.source.Timeout.D()
	} else if wait := p.source.Pause.D() - time.Since(p.lastUsed); wait > 0 {
		time.Sleep(wait) // bounded by schema
	}
	if err := p.drain(quiet); err != nil {
		return p.broken(err)
	}
	return nil
}

// drain reads until nothing has come for quiet. A line that never rests is
// given up on after ten times that.
func (p *port) drain(quiet time.Duration) error {
	p.in = p.in[:0]
	var buf [256]byte
	limit := time.Now().Add(10*quiet + time.Second)
	for time.Now().Before(limit) {
		_, err := p.line.Read(buf[:], time.Now().Add(quiet))
		if errors.Is(err, medium.ErrSilence) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the line does not come to rest", collect.ErrGarbled)
}

// receive waits for the answer to a question, which has to begin in time and
// then come without a gap. Whatever else is heard is passed over.
func (p *port) receive(q question, begin time.Time) error {
	limit := begin.Add(p.airtime(2*(wire.MaxFrame+wire.MaxPreamble)) + byteGap)
	var noise error
	for deadline := begin; ; {
		n, err := p.listen(deadline)
		silent := errors.Is(err, medium.ErrSilence)
		if err != nil && !silent {
			return err
		}
		found, problem := p.find(q, silent)
		if found {
			return nil
		}
		if problem != nil {
			noise = problem
		}
		if silent && n == 0 || time.Now().After(limit) {
			break
		}
		deadline = begin
		if len(p.in) > 0 { // the beginning of something: the rest of it has to come soon
			deadline = time.Now().Add(byteGap)
		}
		if deadline.Before(begin) {
			deadline = begin
		}
	}
	if noise != nil {
		return fmt.Errorf("%w: %w", collect.ErrGarbled, noise)
	}
	return collect.ErrTimeout
}

// listen waits for bytes, and puts them to the others.
func (p *port) listen(deadline time.Time) (int, error) {
	var buf [256]byte
	n, err := p.line.Read(buf[:], deadline)
	p.in = append(p.in, buf[:n]...)
	if n > 0 {
		p.lastUsed = time.Now()
	}
	return n, err
}

// find looks for the answer to a question in what has come. A frame that is
// still incomplete stays, unless nothing more will come.
func (p *port) find(q question, last bool) (found bool, problem error) {
	for len(p.in) > 0 {
		whole, lost, err := p.next(last)
		if err != nil {
			problem = err
		} else if lost > 0 {
			problem = fmt.Errorf("%d bytes that are no frame", lost)
		}
		if !whole {
			break
		}
		if q.fits(&p.heard) {
			return true, nil
		}
	}
	return false, problem
}

// next takes the next frame out of what has come into p.heard, and says how many
// bytes before it were lost. The error is why something like a frame was none.
func (p *port) next(last bool) (whole bool, lost int, err error) {
	n, whole, err := p.heard.Next(p.in, last)
	junk := p.in[:n]
	if whole {
		junk = junk[:n-wire.Overhead-len(p.heard.Data())]
	}
	lost = len(bytes.Trim(junk, "\xfe"))
	p.in = p.in[:copy(p.in, p.in[n:])]
	return whole, lost, err
}

// alone fails if the meter says anything else within a time limit. Where no
// other answer of it may be under way, a copy of its refusal is none.
func (p *port) alone(doubtful bool) error {
	answer := p.heard
	defer func() { p.heard = answer }()
	deadline := time.Now().Add(p.source.Timeout.D())
	limit := deadline.Add(p.airtime(wire.MaxFrame) + byteGap)
	for {
		_, err := p.listen(deadline)
		silent := errors.Is(err, medium.ErrSilence)
		if err != nil && !silent {
			return err
		}
		for len(p.in) > 0 {
			if whole, _, _ := p.next(silent); !whole {
				break
			}
			another := doubtful || p.heard.Control != answer.Control || !bytes.Equal(p.heard.Data(), answer.Data())
			if another && p.heard.Control.IsAnswer() && p.heard.Address == answer.Address {
				return fmt.Errorf("%w: two answers to one request", collect.ErrGarbled)
			}
		}
		if silent || time.Now().After(limit) {
			return nil
		}
		if pending := time.Now().Add(byteGap); len(p.in) > 0 && pending.After(deadline) {
			deadline = pending // what has begun has to end
		}
	}
}

// broken closes a line that failed as such.
func (p *port) broken(err error) error {
	if errors.Is(err, collect.ErrLink) {
		p.Close()
	}
	return err
}
