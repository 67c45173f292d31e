package dlt698

import (
	"errors"
	"math/rand/v2"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// port is one medium, shared by all policies and meters on it. One request is
// under way at a time.
type port struct {
	medium.Turn // whoever has it may use what follows
	source      schema.Source
	openLine    func(schema.Source) (medium.Line, error)
	line        medium.Line // nil when closed
	lastUsed    time.Time
	service     byte // number of the request sent last
	meters      map[wire.Address]*meter
	frames      int
	answers     int

	// Used again with every request, so that asking and being answered allocates little.
	scanner wire.Scanner
	joiner  wire.Joiner
	answer  wire.Message
	apdu    []byte
	out     []byte
}

// meter is what is known of one device on a port.
type meter struct {
	medium.Absence
	most    map[batchKey]int             // as many at once as it has not refused
	alone   map[slot]bool                // those it refuses together with others
	scalers map[wire.ObjectAttribute]int // powers of ten
	ranges  bool                         // it has answered for records of an interval
	points  bool                         // it doesn't, but for single ones
	begin   beginning                    // of the intervals it answers for
	passed  time.Time                    // the latest time that it has a record of, by its clock
}

// beginning tells whether what a meter takes for an interval has its first time.
type beginning int

const (
	notKnown beginning = iota
	included
	excluded // it begins after it
)

// newPort begins with any service number: an answer to whoever asked before us
// is then not likely to have ours.
func newPort(s schema.Source, open func(schema.Source) (medium.Line, error)) *port {
	return &port{source: s, openLine: open, meters: make(map[wire.Address]*meter), service: byte(rand.N(wire.ServiceNumbers))}
}

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

// maxMeters bounds what is remembered of meters, of policies that are gone too;
// beyond it all is learnt anew.
const maxMeters = 4 * schema.MaxMeters

func (p *port) meter(a wire.Address) *meter {
	m := p.meters[a]
	if m == nil {
		if len(p.meters) >= maxMeters {
			clear(p.meters)
		}
		m = newMeter()
		p.meters[a] = m
	}
	return m
}

func newMeter() *meter {
	return &meter{most: make(map[batchKey]int), alone: make(map[slot]bool), scalers: make(map[wire.ObjectAttribute]int)}
}

// note learns from the outcome of a poll at now.
func (m *meter) note(err error, now time.Time) {
	if errors.Is(err, collect.ErrNoValue) {
		err = nil // an answer
	}
	m.Note(err, now)
	if errors.Is(err, collect.ErrTimeout) { // when it comes back it may be another meter
		clear(m.scalers)
		clear(m.most)
		clear(m.alone)
		m.ranges, m.points, m.begin = false, false, notKnown
	}
}
