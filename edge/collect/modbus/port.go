package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goburrow/modbus"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// transport is what a port sends through.
type transport interface {
	Send(request []byte) ([]byte, error)
	close()
}

// port is one medium, shared by all policies and meters on it. One request is
// under way at a time.
type port struct {
	medium.Turn // whoever has it may use what follows
	source      schema.Source
	transport   transport
	client      modbus.Client
	setUnit     func(byte)
	units       map[byte]*unit
	frames      int // requests sent
	answers     int // frames that came back and fit
}

// unit is what is known of one device on a port.
type unit struct {
	medium.Absence
	cuts      cuts
	forbidden schema.Ranges // registers that nothing may be asked of now
	blocks    map[int]int   // of SunSpec models, where they begin
	until     time.Time     // no others are looked for until then
	searched  schema.Ranges // what was forbidden when they were
	hidden    *outOfReach   // where that search couldn't go; nil = it went everywhere
	last      grouping
}

// grouping is how the items of a poll were grouped, since the next one is the same
// most of the time.
type grouping struct {
	items  []schema.Item
	hole   int
	cuts   int // that were known
	blocks []block
}

// group joins items into blocks, which the caller doesn't change.
func (u *unit) group(items []schema.Item, hole int) []block {
	if l := &u.last; l.hole != hole || l.cuts != len(u.cuts) || !slices.Equal(l.items, items) {
		u.last = grouping{slices.Clone(items), hole, len(u.cuts), group(items, hole, u.cuts)}
	}
	return u.last.blocks
}

// forbid keeps blocks from being made over registers that aren't to be touched.
func (u *unit) forbid(r schema.Ranges) {
	if r == u.forbidden {
		return
	}
	u.forbidden = r
	for _, one := range r.All() {
		u.cuts[cut{byte(one.Function), one.First}] = true
	}
}

func newPort(s schema.Source) *port {
	if s.Kind == schema.SourceModbusTCP {
		return newPortOn(s, &tcp{source: s})
	}
	return newPortOn(s, &rtu{source: s})
}

func newPortOn(s schema.Source, t transport) *port {
	p := &port{source: s, transport: t, units: make(map[byte]*unit)}
	var packager modbus.Packager // goburrow's handlers are used to pack and unpack only
	if s.Kind == schema.SourceModbusTCP {
		h := modbus.NewTCPClientHandler(s.Address)
		packager, p.setUnit = h, func(u byte) { h.SlaveId = u }
	} else {
		h := modbus.NewRTUClientHandler(s.Port)
		packager, p.setUnit = h, func(u byte) { h.SlaveId = u }
	}
	p.client = modbus.NewClient2(packager, t)
	return p
}

// Exception is a meter's refusal (Modbus Application Protocol, 7).
type Exception struct{ Code byte }

func (e *Exception) Error() string { return fmt.Sprintf("exception %d", e.Code) }

// Unwrap makes it a collect.ErrException.
func (e *Exception) Unwrap() error { return collect.ErrException }

const illegalAddress = 2

// read asks a unit for a block, as often as the source allows. The port must be
// taken.
func (p *port) read(ctx context.Context, u byte, b block) (data []byte, err error) {
	for range p.source.Tries {
		if err = ctx.Err(); err != nil {
			return nil, err
		}
		p.frames++
		p.setUnit(u)
		data, err = p.request(b)
		var refused *modbus.ModbusError
		if err == nil || errors.As(err, &refused) {
			p.answers++
		}
		if refused != nil {
			return nil, &Exception{refused.ExceptionCode} // an answer, and the same next time
		}
		if err == nil {
			return data, nil
		}
	}
	return nil, err
}

func (p *port) request(b block) ([]byte, error) {
	switch b.function {
	case 1:
		return p.client.ReadCoils(b.address, b.quantity)
	case 2:
		return p.client.ReadDiscreteInputs(b.address, b.quantity)
	case 3:
		return p.client.ReadHoldingRegisters(b.address, b.quantity)
	default:
		return p.client.ReadInputRegisters(b.address, b.quantity)
	}
}

func (p *port) unit(id byte) *unit {
	u := p.units[id]
	if u == nil {
		u = &unit{cuts: make(cuts)}
		p.units[id] = u
	}
	return u
}
