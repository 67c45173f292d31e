package q376

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/q376/wire"
	"gnomon/schema"
)

// line is an open line and who listens on it.
type line struct {
	medium.Line
	writing medium.Turn   // one frame after the other
	stop    chan struct{} // closed when nobody needs it any more
	ended   chan struct{} // closed when it is closed
}

// pending is a request that waits for its answer.
type pending struct {
	meter  wire.Address // zero: the CCO itself
	afn    wire.AFN
	fn     wire.Fn
	answer chan wire.Frame // has room for one
	lost   chan error      // has room for one
}

const (
	openWithin  = 10 * time.Second       // a connection
	writeWithin = 10 * time.Second       // a frame of 2 KiB takes 2.4 s at 9600 baud
	listenFor   = 200 * time.Millisecond // until somebody who listens looks whether to stop
	byteGap     = 500 * time.Millisecond // between two bytes of one frame
	lateFor     = 6 * time.Minute        // CCOs keep a request for 5 minutes
	againMin    = time.Second            // until a line that could not be opened is tried again
	againMax    = 15 * time.Second
	outage      = time.Minute // after which nobody waits for the line any more
)

// connect opens the line if it is closed. Only who has the session may. A line
// that has just failed is waited for; one that has been down for longer isn't.
func (p *port) connect(ctx context.Context) error {
	for {
		p.mu.Lock()
		source, former, refused := p.source, p.former, p.refused
		open, released, pause, long := p.line != nil, p.released, time.Until(p.again), time.Since(p.down) > outage
		p.mu.Unlock()
		switch {
		case released:
			return errReleased
		case open:
			return nil
		case refused == nil || pause <= 0:
		case long:
			return refused
		case !sleep(ctx, pause):
			return ctx.Err()
		}
		if former != nil {
			<-former // a line is never open twice
		}
		source.Timeout = min(source.Timeout, schema.Duration(openWithin))
		opened, err := p.open(source)
		if err = p.adopt(opened, err); err == nil || long && refused != nil || ctx.Err() != nil {
			return err
		}
	}
}

// adopt takes a line that was just opened, or why it wasn't.
func (p *port) adopt(opened medium.Line, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.refuse(err)
		return err
	}
	if p.released {
		opened.Close()
		return errReleased
	}
	p.told = false
	p.line = &line{Line: opened, stop: make(chan struct{}), ended: make(chan struct{})}
	go p.listen(p.line)
	return nil
}

// refuse remembers for a while that there is no use in trying; mu is held.
func (p *port) refuse(err error) {
	if p.refused == nil {
		p.down = time.Now()
	}
	p.refused, p.again = err, time.Now().Add(min(againMin<<min(p.waits, 5), againMax))
	p.waits++
}

// drop gives the line up, and everything that waits for an answer; mu is held.
func (p *port) drop(why error) {
	if p.line == nil {
		return
	}
	close(p.line.stop)
	p.former = p.line.ended
	p.line, p.told = nil, false
	p.forget(why)
}

// forget ends all requests; mu is held.
func (p *port) forget(why error) {
	for sequence, w := range p.pending {
		delete(p.pending, sequence)
		p.late[sequence] = time.Now().Add(lateFor)
		w.lost <- why
	}
}

// dropLine is drop for whoever found that l is of no use.
func (p *port) dropLine(l *line, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == l {
		p.drop(why)
	}
}

// listen takes what comes, until the line ends or isn't needed any more.
func (p *port) listen(l *line) {
	defer close(l.ended)
	defer l.Close()
	if err := collect.Contain(func() error { return p.hear(l) }); err != nil {
		p.dropLine(l, err)
	}
}

// hear is listen's work; nil: the line isn't needed any more.
func (p *port) hear(l *line) error {
	var scanner wire.Scanner
	var buf [1024]byte
	last := time.Now()
	for {
		select {
		case <-l.stop:
			return nil
		default:
		}
		n, err := l.Read(buf[:], time.Now().Add(listenFor))
		switch {
		case errors.Is(err, medium.ErrSilence):
			for scanner.Pending() > 0 && time.Since(last) > byteGap {
				scanner.Skip() // nothing more will come of it
				p.frames(l, &scanner)
			}
			continue
		case err != nil:
			return err
		}
		last = time.Now()
		scanner.Write(buf[:n])
		p.frames(l, &scanner)
	}
}

// frames takes all whole frames. What is none is passed over: who waits for it
// asks again.
func (p *port) frames(l *line, scanner *wire.Scanner) {
	for {
		var f wire.Frame
		ok, err := scanner.Next(&f)
		if err != nil {
			continue
		}
		if !ok {
			return
		}
		switch {
		case !f.Control.Up(): // an echo
		case f.Control.Primary():
			p.reported(l, &f)
		default:
			p.answered(&f)
		}
	}
}

// answered gives an answer to who waits for it. One that nobody waits for is late,
// or a copy.
func (p *port) answered(f *wire.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sequence := f.Info.Sequence()
	w := p.pending[sequence]
	if w == nil || !w.fits(f) {
		return
	}
	delete(p.pending, sequence)
	got := *f
	got.Data = slices.Clone(f.Data)
	w.answer <- got
}

// fits tells whether a frame can answer a request: denials and confirmations
// name no meter.
func (w *pending) fits(f *wire.Frame) bool {
	if f.AFN == wire.AFNConfirm {
		return !f.Info.HasAddress() || f.Source == w.meter || f.Source.Reversed() == w.meter
	}
	if f.AFN != w.afn || f.Fn != w.fn {
		return false
	}
	if w.meter == (wire.Address{}) {
		return true
	}
	return f.Info.HasAddress() && (f.Source == w.meter || f.Source.Reversed() == w.meter)
}

// request asks the CCO something, and waits for the answer for patience.
func (p *port) request(ctx context.Context, f wire.Frame, patience time.Duration) (wire.Frame, error) {
	w := &pending{meter: f.Destination, afn: f.AFN, fn: f.Fn, answer: make(chan wire.Frame, 1), lost: make(chan error, 1)}
	l, sequence, err := p.register(w)
	if err != nil {
		return wire.Frame{}, err
	}
	f.Control = wire.HPLC.Request()
	f.Info = wire.Down{Address: w.meter != wire.Address{}, Sequence: sequence}.Info()
	if err := p.send(l, &f); err != nil {
		p.unregister(sequence, w)
		return wire.Frame{}, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case answer := <-w.answer:
		return answer, denied(&answer)
	case err := <-w.lost:
		return wire.Frame{}, err
	case <-timer.C:
		err = collect.ErrTimeout
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.unregister(sequence, w)
	return wire.Frame{}, err
}

// register finds a sequence that no late answer can have.
func (p *port) register(w *pending) (*line, byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == nil {
		return nil, 0, fmt.Errorf("%w: closed", collect.ErrLink)
	}
	now := time.Now()
	for range len(p.late) {
		p.next++
		if _, taken := p.pending[p.next]; !taken && !now.Before(p.late[p.next]) {
			p.pending[p.next] = w
			return p.line, p.next, nil
		}
	}
	return nil, 0, errNoRoom
}

// unregister gives a request up; its answer may still come.
func (p *port) unregister(sequence byte, w *pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending[sequence] == w {
		delete(p.pending, sequence)
	}
	p.late[sequence] = time.Now().Add(lateFor)
}

// send writes one frame.
func (p *port) send(l *line, f *wire.Frame) error {
	out, err := f.Append(nil)
	if err != nil {
		return err
	}
	if err := l.writing.Take(context.Background(), 0); err != nil { // writing is bounded, and so is waiting
		return err
	}
	defer l.writing.Give()
	select {
	case <-l.ended:
		return fmt.Errorf("%w: closed", collect.ErrLink)
	default:
	}
	if err := l.Write(out, time.Now().Add(writeWithin)); err != nil {
		p.dropLine(l, err)
		return err
	}
	return nil
}
