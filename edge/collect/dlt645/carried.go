package dlt645

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/schema"
)

// Carrier takes requests to a meter that is on no line of ours, such as one
// behind a CCO, and brings its answers. What it brings answers what it took:
// late and foreign answers are its own matter.
type Carrier interface {
	// Most is how many requests may go together, at least one.
	Most() int

	// Carry takes n requests, one after the other in content, and returns the
	// frames that answer them. ErrTooMany asks for fewer at once: Most
	// has become less.
	Carry(ctx context.Context, content []byte, n int) ([]byte, error)
}

// ErrTooMany is what a Carrier says to more requests than go together.
var ErrTooMany = errors.New("too many requests at once")

// Carried is one meter that is reached through a Carrier. It isn't safe for
// concurrent use.
type Carried struct {
	address wire.Address
	known   *meter
}

// NewCarried returns a meter of which nothing is known yet.
func NewCarried(address string) (*Carried, error) {
	a, err := wire.ParseAddress(address)
	if err == nil && (a.Padding() > 0 || a == wire.Broadcast) {
		err = wire.ErrAddress
	}
	if err != nil {
		return nil, fmt.Errorf("meter %s: %w", address, err)
	}
	return &Carried{address: a, known: newMeter()}, nil
}

// Absent tells whether the meter is left out now, and why.
func (c *Carried) Absent(now time.Time) error { return c.known.Err(now) }

// Poll reads items into values, which has all of them in the end. The error is
// the first thing that went wrong.
func (c *Carried) Poll(ctx context.Context, by Carrier, items []schema.Item, values map[string]collect.Value) error {
	m, now := c.known, time.Now()
	if err := m.Err(now); err != nil {
		collect.NoValues(values, items, err, now)
		return err
	}
	good := placeAll(items, values, now)
	t := &tour{Carried: c, by: by, values: values, asked: make(map[wire.DI]int)}
	t.todo = m.group(good, now)
	for len(t.todo) > 0 {
		if t.gone != nil {
			t.todo[0].missing(values, t.gone)
			t.todo = t.todo[1:]
			continue
		}
		t.step(ctx)
	}
	m.Note(cmp.Or(t.gone, t.failed), time.Now())
	return t.failed
}

// Recall reads what the meter keeps of r's times into rows, one for each. The
// error is the first thing that went wrong.
func (c *Carried) Recall(ctx context.Context, by Carrier, r collect.Recall, rows []map[string]collect.Value) error {
	return c.known.recall(ctx, carrying{c, by}, r, rows)
}

// tour is one poll of a carried meter.
type tour struct {
	*Carried
	by     Carrier
	values map[string]collect.Value
	todo   []work
	asked  map[wire.DI]int // how often an identifier was asked for, without an answer that names it
	failed error           // the first failure
	gone   error           // after which the meter isn't asked any more
}

// maxAsked is how often an identifier is asked for that answers leave out.
const maxAsked = 2

// step asks for as much as goes together. One that answers have left out goes alone.
func (t *tour) step(ctx context.Context) {
	var batch, rest []work
	most := t.by.Most()
	for _, w := range t.todo {
		known, lacks := t.known.lacks[w.di]
		switch {
		case lacks:
			w.missing(t.values, known.err)
			t.failed = cmp.Or(t.failed, known.err)
		case len(batch) == most || len(batch) > 0 && (t.asked[w.di] > 0 || t.asked[batch[0].di] > 0 || among(batch, w.di)):
			rest = append(rest, w)
		default:
			batch = append(batch, w)
		}
	}
	t.todo = rest
	if len(batch) == 0 {
		return
	}
	found, err := t.ask(ctx, batch)
	if errors.Is(err, ErrTooMany) && t.by.Most() < len(batch) {
		t.todo = append(batch, t.todo...)
		return
	}
	for i, w := range batch {
		if err == nil {
			t.take(ctx, w, found[i], len(batch))
			continue
		}
		w.missing(t.values, err)
		t.failed = cmp.Or(t.failed, err)
		if !errors.Is(err, collect.ErrException) {
			t.gone = err
		}
	}
}

func among(batch []work, di wire.DI) bool {
	for _, w := range batch {
		if w.di == di {
			return true
		}
	}
	return false
}

// take deals with what became of one identifier.
func (t *tour) take(ctx context.Context, w work, a answer, together int) {
	if a.kind == unanswered {
		if t.asked[w.di]++; t.asked[w.di] < maxAsked && together > 1 {
			t.todo = append(t.todo, w)
			return
		}
		err := fmt.Errorf("%w: %s is left out of the answer", collect.ErrGarbled, w.di)
		w.missing(t.values, err)
		t.failed = cmp.Or(t.failed, err)
		return
	}
	delete(t.asked, w.di)
	data, err := a.data, error(nil)
	switch {
	case a.kind == refused:
		err = &Refusal{w.di, a.word}
	case a.more:
		data, err = t.followUp(ctx, w.di, data)
	}
	var again []work
	if err == nil {
		again = t.known.take(w, data, t.values)
	} else if again, err = t.known.failed(w, err, t.values); err != nil {
		t.failed = cmp.Or(t.failed, err)
		if !errors.Is(err, collect.ErrException) {
			t.gone = cmp.Or(t.gone, err)
		}
	}
	t.todo = append(t.todo, again...)
}

// answer is what became of one request.
type answer struct {
	kind int // unanswered, refused, or answered
	word wire.MeterError
	data []byte // behind the identifier
	more bool
	di   wire.DI
}

const (
	unanswered = iota
	refused
	answered
)

// ask carries requests for all of a batch, and finds the answer to each.
func (t *tour) ask(ctx context.Context, batch []work) ([]answer, error) {
	asks := make([]ask, len(batch))
	for i, w := range batch {
		asks[i].di = w.di
	}
	return carrying{t.Carried, t.by}.askAll(ctx, asks)
}

// carrying asks a meter through a Carrier.
type carrying struct {
	*Carried
	by Carrier
}

func (c carrying) together() int { return c.by.Most() }

// askAll asks for everything at once. A refusal doesn't say what it refuses, nor do
// several answers of one identifier say which is which: that is believed only where
// there are as many answers as requests and all others are in their place.
func (c carrying) askAll(ctx context.Context, batch []ask) ([]answer, error) {
	var content []byte
	var f wire.Frame
	for _, w := range batch {
		if err := f.AskRead(c.address, w.di, w.parameters...); err != nil {
			return nil, err // not reached: it always fits
		}
		content = f.Append(content, 0)
	}
	back, err := c.by.Carry(ctx, content, len(batch))
	if err != nil {
		return nil, err
	}
	came := c.parse(back, wire.Read)
	out := make([]answer, len(batch))
	inPlace := len(came) == len(batch)
	for i := range came {
		inPlace = inPlace && (came[i].kind == refused || came[i].di == batch[i].di)
	}
	for i, w := range batch {
		if inPlace {
			out[i] = came[i]
			continue
		}
		for _, a := range came {
			if a.kind == answered && a.di == w.di && len(w.parameters) == 0 {
				out[i] = a
				break
			}
		}
	}
	return out, nil
}

// parse reads the meter's answers out of what came back; noise and others'
// frames are passed over.
func (c *Carried) parse(back []byte, of wire.Control) (all []answer) {
	var f wire.Frame
	for len(back) > 0 {
		n, whole, _ := f.Next(back, true)
		if !whole && n == 0 {
			break
		}
		back = back[n:]
		if !whole || !f.Control.IsAnswer() || f.Control.Function() != of || !c.address.Matches(f.Address) {
			continue
		}
		if f.Control.Refused() {
			if word, err := f.Refusal(); err == nil {
				all = append(all, answer{kind: refused, word: word})
			}
			continue
		}
		if di, rest, err := wire.DIOf(f.Data()); err == nil {
			all = append(all, answer{kind: answered, di: di, data: append([]byte(nil), rest...), more: f.Control.More()})
		}
	}
	return all
}

// followUp asks for the rest of an answer that didn't fit one frame.
func (t *tour) followUp(ctx context.Context, di wire.DI, data []byte) ([]byte, error) {
	for sequence := byte(1); ; sequence++ {
		if sequence > maxFollowUps || len(data) > schema.MaxAnswerBytes {
			return nil, fmt.Errorf("%w: %s has more than %d follow-up frames or %d bytes", collect.ErrGarbled, di, maxFollowUps, schema.MaxAnswerBytes)
		}
		var f wire.Frame
		f.AskMore(t.address, di, sequence)
		back, err := t.by.Carry(ctx, f.Append(nil, 0), 1)
		if err != nil {
			return nil, err
		}
		came := t.parse(back, wire.ReadMore)
		if len(came) == 1 && came[0].kind == refused {
			return nil, &Refusal{di, came[0].word}
		}
		if len(came) != 1 || came[0].di != di || len(came[0].data) == 0 || came[0].data[len(came[0].data)-1] != sequence {
			return nil, fmt.Errorf("%w: not part %d of %s", collect.ErrGarbled, sequence, di)
		}
		data = append(data, came[0].data[:len(came[0].data)-1]...)
		if !came[0].more {
			return data, nil
		}
	}
}
