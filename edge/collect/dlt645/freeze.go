package dlt645

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
)

const (
	freezeTime = 0x05060000 // when the nth last daily freeze was
	maxFreezes = 62
	maxLooks   = 12 // at freezes, for that of one time
	bisectFrom = 3  // looks after which their times aren't gone by any more
	day        = 24 * time.Hour
)

// freezes reads daily freezes.
func (h *history) freezes(ctx context.Context, items []placed) error {
	g := &guess{none: maxFreezes + 1}
	for i := range h.times {
		if err := h.freeze(ctx, i, g, items); err != nil {
			return err
		}
	}
	return nil
}

// freeze finds the daily freeze of one time. A meter counts them from its latest:
// by its own clock, which may be past a midnight that the node's isn't or the other
// way round, and one that was without power at a midnight has fewer than days have
// passed. So it is their times that tell.
func (h *history) freeze(ctx context.Context, i int, g *guess, items []placed) error {
	at := h.times[i]
	expected := int(h.Now.UTC().Add(h.Zone).Sub(at)/day) + 1
	look := bracket{earlier: maxFreezes + 1}
	look.next = min(max(expected+g.shift, 1), maxFreezes, max(g.none-1, 1))
	for range maxLooks {
		asks, place := freezeAsks(items, look.next)
		answers, err := h.askEach(ctx, asks)
		if err != nil {
			return err
		}
		when, err := frozenAt(asks[0].di, answers[0])
		if err != nil && !errors.Is(err, collect.ErrNoData) {
			h.missing(i, items, err)
			return nil
		}
		if err == nil {
			h.meter.pass(when)
		}
		if err == nil && when.Equal(at) {
			g.shift = look.next - expected
			h.thaw(i, items, answers, place)
			return nil
		}
		if err != nil {
			g.none = look.next
		}
		if !look.narrow(at, when, g.none) {
			h.missing(i, items, h.absent(at, "daily freeze", time.DateOnly))
			return nil
		}
	}
	h.missing(i, items, fmt.Errorf("%w: daily freezes are in no order", collect.ErrGarbled))
	return nil
}

// guess is what finding one freeze tells of where the next is.
type guess struct {
	shift int // how much farther back the last one was than the node's clock has it
	none  int // a place that had none
}

// bracket is where a freeze can still be.
type bracket struct {
	later, earlier int // the nearest places known to be of later and of earlier times, or empty
	next           int // to look at
	looks          int
}

// narrow takes what was at the place looked at, which isn't what is looked for, and
// returns false if it is nowhere. An empty place has no time, and the zero one is
// earlier than all. Midnight may come meanwhile and move all by one: that the earlier
// neighbour is next to the later one is believed only if it was looked at last.
func (b *bracket) narrow(at, when time.Time, none int) bool {
	b.looks++
	last := b.next
	if when.After(at) {
		b.later = last
		if b.earlier <= last {
			b.earlier = maxFreezes + 1
		}
		b.next += max(int(when.Sub(at)/day), 1)
	} else {
		b.earlier = last
		if b.later >= last {
			b.later = 0
		}
		b.next -= max(int(min(at.Sub(when), maxFreezes*day)/day), 1)
	}
	if b.earlier-b.later == 1 {
		b.next = b.earlier
		return b.later > 0 && b.earlier <= maxFreezes && last != b.earlier
	}
	if when.IsZero() || b.looks >= bisectFrom {
		b.next = (b.later + b.earlier) / 2
	}
	b.next = max(min(b.next, b.earlier-1, none), b.later+1)
	return true
}

// freezeAsks are requests for the nth last freeze: for its time, and for each item
// at its place.
func freezeAsks(items []placed, nth int) (asks []ask, place map[wire.DI]int) {
	asks, place = []ask{{di: freezeTime | wire.DI(nth)}}, make(map[wire.DI]int)
	for _, it := range items {
		di := it.di&^0xff | wire.DI(nth)
		if _, twice := place[it.di]; !twice {
			place[it.di] = len(asks)
			asks = append(asks, ask{di: di})
		}
	}
	return asks, place
}

// thaw takes the items out of the answers for a freeze.
func (h *history) thaw(i int, items []placed, answers []answer, place map[wire.DI]int) {
	for _, it := range items {
		switch a := answers[place[it.di]]; {
		case a.kind == unanswered:
			h.missing(i, []placed{it}, fmt.Errorf("%w: left out of the answer", collect.ErrGarbled))
		case a.kind == refused && a.word&wire.NoSuchData == 0:
			h.missing(i, []placed{it}, &Refusal{it.di, a.word})
		case a.kind == refused:
			h.missing(i, []placed{it}, fmt.Errorf("%w: %s isn't frozen daily", collect.ErrNoData, it.Name))
		default:
			h.put(i, it, a.data)
		}
	}
}

// askEach asks for everything, in as many parts as it takes.
func (h *history) askEach(ctx context.Context, asks []ask) (all []answer, err error) {
	for len(asks) > 0 {
		part := asks[:min(len(asks), h.together())]
		answers, err := h.askAll(ctx, part)
		if errors.Is(err, ErrTooMany) && h.together() < len(part) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all, asks = append(all, answers...), asks[len(part):]
	}
	return all, nil
}

// frozenAt reads the time of a freeze; ErrNoData says that there is none at its
// place, which meters also say with a time of no digits or of zeros.
func frozenAt(di wire.DI, a answer) (time.Time, error) {
	switch {
	case a.kind == unanswered:
		return time.Time{}, fmt.Errorf("%w: left out of the answer", collect.ErrGarbled)
	case a.kind == refused && a.word&wire.NoSuchData == 0:
		return time.Time{}, &Refusal{di, a.word}
	case a.kind == refused, len(bytes.Trim(a.data, "\x00")) == 0:
		return time.Time{}, collect.ErrNoData
	}
	s, err := wire.Minutes.Decode(a.data)
	if errors.Is(err, wire.ErrMissing) {
		return time.Time{}, collect.ErrNoData
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: the time of a freeze: %w", collect.ErrGarbled, err)
	}
	return timeOf(s), nil
}
