package q376

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645"
	"gnomon/edge/collect/dlt698"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/q376/wire"
	"gnomon/schema"
)

// port is one CCO, shared by all policies and meters behind it.
type port struct {
	open    func(schema.Source) (medium.Line, error)
	places  medium.Turn // of meters that are read at once
	demands medium.Turn // of meters that somebody waits for
	session medium.Turn // who brings the line and the CCO into order

	mu       sync.Mutex
	source   schema.Source
	released bool
	line     *line // nil = closed
	again    time.Time
	refused  error           // why the line could not be opened, until again
	down     time.Time       // since when
	waits    int             // failures to open it in a row
	former   <-chan struct{} // closed when the line before this one is

	pending map[byte]*pending
	late    [256]time.Time // sequences that a late answer may have, until when
	next    byte

	meters  map[meterKey]*meter
	told    bool                             // the CCO is in order, since it last started
	archive map[wire.Address]wire.Protocol   // what the CCO has in it; nil = not known
	wanted  map[wire.Address]schema.Protocol // what it is to have; nil = no cycle has said
	cycles  int                              // under way
	most    int                              // meter frames in one request that it hasn't denied; 0 = any
	single  bool                             // it knows no concurrent reading
	limit   int                              // places that it hasn't denied; 0 = any
	good    int                              // answers since it denied some
}

// meterKey: what is read on demand doesn't wait for a cycle's reading of the meter.
type meterKey struct {
	address  string
	protocol schema.Protocol
	demand   bool
	maxFrame int
}

// meter is one meter behind the CCO.
type meter struct {
	turn    medium.Turn // one poll at a time: a CCO reads a meter once at a time
	address wire.Address
	carried
	protocol wire.Protocol
	failed   bool // the last poll; belongs to whoever has the turn
}

// carried is what a meter's own protocol makes of a poll.
type carried interface {
	Absent(now time.Time) error
	Poll(ctx context.Context, by dlt645.Carrier, items []schema.Item, values map[string]collect.Value) error
	Recall(ctx context.Context, by dlt645.Carrier, r collect.Recall, rows []map[string]collect.Value) error
}

// carried698 lets a meter of DL/T 698.45 be polled as one of DL/T 645.
type carried698 struct{ *dlt698.Carried }

func (c carried698) Poll(ctx context.Context, by dlt645.Carrier, items []schema.Item, values map[string]collect.Value) error {
	return c.Carried.Poll(ctx, by, items, values)
}

func (c carried698) Recall(ctx context.Context, by dlt645.Carrier, r collect.Recall, rows []map[string]collect.Value) error {
	return c.Carried.Recall(ctx, by, r, rows)
}

// maxMeters bounds what is remembered of meters, of policies that are gone too;
// beyond it all is learnt anew.
const maxMeters = 4 * schema.MaxMeters

func newPort(s schema.Source, open func(schema.Source) (medium.Line, error)) *port {
	p := &port{open: open, source: s, pending: make(map[byte]*pending), meters: make(map[meterKey]*meter)}
	p.places.SetPlaces(s.Parallel)
	return p
}

// Take implements medium.Port; turns are those of meters, not of the port.
func (p *port) Take(ctx context.Context, _ int) error { return ctx.Err() }

// Give implements medium.Port.
func (p *port) Give() {}

// Use implements medium.Port.
func (p *port) Use(s schema.Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.source
	p.source = s
	if old.Parallel != s.Parallel {
		p.limit = 0
		p.places.SetPlaces(s.Parallel)
	}
	if !medium.SameLine(old, s) {
		p.drop(errChanged)
	}
}

// Close implements medium.Port: nothing is read through it any more.
func (p *port) Close() {
	p.mu.Lock()
	p.released = true
	p.drop(errReleased)
	former := p.former
	p.mu.Unlock()
	if former != nil {
		<-former
	}
}

// meter returns what is known of a meter.
func (p *port) meter(m schema.Meter, demand bool) (*meter, error) {
	a, err := wire.ParseAddress(m.Address)
	if err != nil {
		return nil, fmt.Errorf("meter %s: %w", m.ID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := meterKey{m.Address, m.Protocol, demand, p.source.MaxFrame}
	if known := p.meters[key]; known != nil {
		return known, nil
	}
	if len(p.meters) >= maxMeters {
		clear(p.meters)
	}
	fresh := &meter{address: a, protocol: protocolOf(m.Protocol)}
	if m.Protocol == schema.DLT698 {
		var c *dlt698.Carried
		c, err = dlt698.NewCarried(m.Address, p.source.MaxFrame)
		fresh.carried = carried698{c}
	} else {
		fresh.carried, err = dlt645.NewCarried(m.Address)
	}
	if err != nil {
		return nil, err
	}
	p.meters[key] = fresh
	return fresh, nil
}

// crowded learns that fewer meters fit than were in flight.
func (p *port) crowded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good = 0
	if p.limit == 0 {
		p.limit = p.source.Parallel
	}
	if p.limit > 1 {
		p.limit--
		p.places.SetPlaces(p.limit)
	}
}

// probation is how many answers it takes until one more meter is tried.
const probation = 200

// fine learns that a request was answered.
func (p *port) fine() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit == 0 || p.limit >= p.source.Parallel {
		return
	}
	if p.good++; p.good >= probation {
		p.good = 0
		p.limit++
		p.places.SetPlaces(p.limit)
	}
}

// tooLong learns that so many meter frames in one request are too many.
func (p *port) tooLong(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	less := n / 2
	if n > wire.DefaultLimits.MeterFrames {
		less = wire.DefaultLimits.MeterFrames // which all are known to take
	}
	if less = max(less, 1); p.most == 0 || less < p.most {
		p.most = less
	}
}
