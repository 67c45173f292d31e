package schema

import (
	"fmt"
	"slices"
	"time"
)

// Pace is how fast meters answer.
type Pace struct {
	Reply time.Duration // from the end of a request to the beginning of its answer; through a CCO, there and back
	Frame time.Duration // of q376: what every meter frame in a request adds
	Again time.Duration // what requests that get lost and are repeated add to each, on average
}

// Fastest returns the best that is known of real meters of a kind of source: what
// a policy needs at this pace it needs at least. Answers of DL/T meters begin after
// 20 ms at the earliest; a reading through a CCO has been seen to take 0.36 s.
func (k SourceKind) Fastest() Pace {
	switch k.Protocol() {
	case DLT645, DLT698:
		return Pace{Reply: 20 * time.Millisecond}
	case Q376:
		return Pace{Reply: 200 * time.Millisecond, Frame: 150 * time.Millisecond}
	}
	return Pace{}
}

// BusTime is what a policy needs of its line, as far as it follows from the
// policy: what meters refuse, repeat or send in parts isn't in it, nor are other
// policies on the line.
type BusTime struct {
	Requests int           // to read every meter once
	Slot     time.Duration // for that, if every meter answers at once
	Places   time.Duration // of it, what all the places together are taken for; one meter at once has one
	Line     time.Duration // of q376: what the line to the CCO is
	Dead     time.Duration // what a meter that doesn't answer adds
}

// load is what reading one meter puts on the line.
type load struct {
	requests int
	frames   int // of q376: carried ones
	down, up int // bytes
}

func (l *load) add(o load) {
	l.requests += o.requests
	l.frames += o.frames
	l.down += o.down
	l.up += o.up
}

// bits are how many bits a byte has on the line.
func (s *Source) bits() int {
	n := 1 + s.Data + s.Stop
	if s.Parity != "N" {
		n++
	}
	return n
}

// airtime is how long bytes take; behind an address the line's speed isn't known,
// and taken to be none.
func (s *Source) airtime(bytes int) time.Duration {
	if s.Baud == 0 {
		return 0
	}
	return time.Duration(bytes) * time.Duration(s.bits()) * time.Second / time.Duration(s.Baud)
}

// BusTime returns what reading every meter once needs, at some pace.
func (p *Policy) BusTime(pace Pace) BusTime {
	s := &p.Source
	known := make(map[Meter]load)                                          // of meters that differ in name alone
	lanes := make([]time.Duration, max(min(s.Parallel, len(p.Meters)), 1)) // when each is free again
	var all load
	var work time.Duration
	for _, m := range p.Meters {
		like := Meter{Model: m.Model, Protocol: m.Protocol, Address: digitsOf(m.Address), Forbidden: m.Forbidden}
		l, ok := known[like]
		if !ok {
			l = p.loadOf(m)
			known[like] = l
		}
		all.add(l)
		// A meter takes the lane that is free first, and waits for its own frames.
		first := slices.Index(lanes, slices.Min(lanes))
		takes := time.Duration(l.requests)*(pace.Reply+pace.Again+s.Pause.D()) + time.Duration(l.frames)*pace.Frame + s.airtime(l.down+l.up)
		lanes[first] += takes
		work += takes
	}
	out := BusTime{Requests: all.requests, Dead: time.Duration(s.Tries) * s.Timeout.D()}
	out.Slot, out.Places = slices.Max(lanes), work/time.Duration(max(s.Parallel, 1))
	if s.Kind.Protocol() == Q376 {
		// The line, which carries both ways at once, has the frames of all meters.
		out.Line = s.airtime(max(all.down, all.up))
		out.Slot = max(out.Slot, out.Line)
		out.Dead = s.Timeout.D() / time.Duration(len(lanes))
	}
	return out
}

// digitsOf stands for all addresses of a length.
func digitsOf(address string) string { return fmt.Sprint(len(address)) }

func (p *Policy) loadOf(m Meter) load {
	items := p.ItemsOf(m)
	if p.Collect == CollectFreeze {
		return p.loadFreeze(m, items)
	}
	switch p.Source.Kind.Protocol() {
	case Modbus:
		return p.Source.loadModbus(items, m.Forbids())
	case DLT645:
		return p.Source.load645(items)
	case DLT698:
		return p.Source.load698(items, len(m.Address)/2)
	case SNMP:
		return p.Source.loadSNMP(items)
	case MQTT:
		return load{} // nobody is asked
	}
	return p.Source.loadQ376(items, m.Protocol)
}

// loadFreeze is loadOf where meters are asked what they froze.
func (p *Policy) loadFreeze(m Meter, items []Item) load {
	protocol := p.Source.Kind.Protocol()
	if protocol == DLT698 {
		return p.loadFreeze698(items, len(m.Address)/2)
	}
	if m.Protocol == DLT698 {
		return p.Source.carry(p.loadFreeze698(items, address376), m.Protocol)
	}
	record, frozen := p.loadFreeze645(items)
	if protocol == Q376 {
		record, frozen = p.Source.carry(record, m.Protocol), p.Source.carry(frozen, m.Protocol)
	}
	record.add(frozen)
	return record
}

// admit refuses a policy that its line has no time for.
func (p *Policy) admit(c *check) {
	t := p.BusTime(p.Source.Kind.Fastest())
	if t.Slot <= p.Period.D() {
		return
	}
	speed := ""
	if p.Source.Baud > 0 {
		speed = fmt.Sprintf(" at %d baud", p.Source.Baud)
	}
	if p.Source.Parallel > 1 {
		speed += fmt.Sprintf(", %d meters at once", p.Source.Parallel)
	}
	needs := t.Slot
	if needs > time.Second {
		needs = needs.Round(100 * time.Millisecond)
	} else {
		needs = needs.Round(time.Millisecond)
	}
	c.add("period", fmt.Sprintf("is shorter than reading takes: %d meters, %d requests%s need at least %v", len(p.Meters), t.Requests, speed, needs), p.Period, nil)
}
