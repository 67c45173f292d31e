package modbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Where SunSpec maps may begin, and the most models that are looked through.
var sunSpecBases = []int{40000, 50000, 0}

const (
	sunSpecMark   = "SunS"
	sunSpecEnd    = 0xffff
	maxSunSpec    = 64
	sunSpecAbsent = 10 * time.Minute // how long it is believed that there is no model
)

// errNoModel: the meter has no SunSpec model of a number.
var errNoModel = fmt.Errorf("%w: no such SunSpec model", collect.ErrException)

// find returns where the SunSpec model begins that an item is in.
func (p *port) find(ctx context.Context, id byte, it schema.Item) (int, error) {
	u := p.unit(id)
	if base, known := u.blocks[it.Block]; known {
		return base, nil
	}
	if u.searched == u.forbidden && time.Now().Before(u.until) {
		return 0, u.absent(it.Block)
	}
	u.hidden = nil
	for _, base := range sunSpecBases {
		found, err := p.walk(ctx, id, byte(it.Function), base)
		if err != nil && !errors.Is(err, collect.ErrException) {
			return 0, err
		}
		if forbidden := (*outOfReach)(nil); errors.As(err, &forbidden) {
			u.hidden = cmp.Or(u.hidden, forbidden)
		}
		if found == nil {
			continue // no such registers, or no map
		}
		u.blocks = found
		if at, has := found[it.Block]; has {
			return at, nil
		}
		break
	}
	u.until, u.searched = time.Now().Add(sunSpecAbsent), u.forbidden
	return 0, u.absent(it.Block)
}

// absent is what is said of a model that isn't found.
func (u *unit) absent(model int) error {
	if u.hidden != nil {
		return &outOfReach{fmt.Sprintf("SunSpec model %d isn't found: %s", model, u.hidden.text)}
	}
	return fmt.Errorf("%w: %d", errNoModel, model)
}

// walk goes along the models of a map, as far as requests may go; nil: there is no map
// at base.
func (p *port) walk(ctx context.Context, id, function byte, base int) (map[int]int, error) {
	forbidden := p.unit(id).forbidden
	pair := func(at int) ([]byte, error) {
		if forbidden.Touch(int(function), at, at+2) {
			return nil, &outOfReach{registersAt(at, at+2) + ": that is forbidden"}
		}
		return p.read(ctx, id, block{function: function, address: uint16(at), quantity: 2})
	}
	data, err := pair(base)
	if err != nil || string(data) != sunSpecMark {
		return nil, err
	}
	found := make(map[int]int)
	for at, n := base+2, 0; n < maxSunSpec && at+2 <= math.MaxUint16; n++ {
		data, err = pair(at)
		if beyond := (*outOfReach)(nil); errors.As(err, &beyond) {
			return found, beyond
		}
		if err != nil {
			return nil, err
		}
		model, length := int(data[0])<<8|int(data[1]), int(data[2])<<8|int(data[3])
		if model == sunSpecEnd {
			break
		}
		if _, twice := found[model]; !twice {
			found[model] = at
		}
		at += 2 + length
	}
	return found, nil
}
