package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/goburrow/modbus"

	"gnomon/edge/collect"
	"gnomon/schema"
	"gnomon/shadow"
)

// Write implements collect.Writer. A write that isn't answered is not repeated: it
// may have been carried out.
func (d *Driver) Write(ctx context.Context, w collect.WriteRequest) (collect.Value, error) {
	raw, err := encode(w.Item, w.Value)
	if err != nil {
		return collect.Value{}, err
	}
	p, err := d.ports.Take(ctx, w.Source, 0, d.newPort)
	if err != nil {
		return collect.Value{}, err
	}
	defer p.Give()
	if err := ctx.Err(); err != nil {
		return collect.Value{}, err
	}
	id, address := byte(w.Meter.Unit), uint16(w.Item.Address)
	p.setUnit(id)
	switch w.Function {
	case 5:
		_, err = p.client.WriteSingleCoil(address, binary.BigEndian.Uint16(raw))
	case 6:
		_, err = p.client.WriteSingleRegister(address, binary.BigEndian.Uint16(raw))
	case 16:
		_, err = p.client.WriteMultipleRegisters(address, uint16(len(raw)/2), raw)
	default:
		return collect.Value{}, fmt.Errorf("%w: function %d", collect.ErrNotWritable, w.Function)
	}
	var refused *modbus.ModbusError
	if errors.As(err, &refused) {
		return collect.Value{}, &Exception{refused.ExceptionCode}
	}
	if err != nil {
		return collect.Value{}, fmt.Errorf("it may have been written: %w", err)
	}
	return p.readBack(ctx, id, w.Item)
}

// readBack reads an item that was just written.
func (p *port) readBack(ctx context.Context, id byte, it schema.Item) (collect.Value, error) {
	b := block{function: byte(it.Function), address: uint16(it.Address), quantity: uint16(size(it)), items: []schema.Item{it}}
	data, err := p.read(ctx, id, b)
	if err != nil {
		return collect.Value{}, fmt.Errorf("it was written, and can't be read back: %w", err)
	}
	v, err := decode(b, data, it)
	return collect.Value{Value: v, At: time.Now(), Err: err}, err
}

const coilOn = 0xff00

// encode makes registers of a value as readings have it: what decode takes apart.
func encode(it schema.Item, v *shadow.Value) ([]byte, error) {
	if it.Type == "bool" {
		on := v.Text() == "true"
		switch {
		case !on:
			return []byte{0, 0}, nil
		case it.Function == 1:
			return binary.BigEndian.AppendUint16(nil, coilOn), nil
		}
		raw := []byte{0, 1}
		reorder(raw, it.Order)
		return raw, nil
	}
	raw, err := number64(it, v.Text())
	if err != nil {
		return nil, fmt.Errorf("%w: %s doesn't go into %s, scaled by %v", collect.ErrOutOfRange, v.Text(), it.Type, it.Scale)
	}
	raw = raw[8-2*size(it):]
	reorder(raw, it.Order)
	return raw, nil
}

var errNoFit = errors.New("it doesn't fit")

// number64 is a number as the item's type has it, in the last bytes of eight.
func number64(it schema.Item, text string) ([]byte, error) {
	bits := 16 * size(it)
	var u uint64
	switch it.Type {
	case "float32", "float64":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		f /= it.Scale
		if u = math.Float64bits(f); bits == 32 {
			u = uint64(math.Float32bits(float32(f)))
			f = float64(float32(f))
		}
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, errNoFit
		}
		return binary.BigEndian.AppendUint64(nil, u), nil
	}
	if it.Scale != 1 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		text = strconv.FormatFloat(math.Round(f/it.Scale), 'f', 0, 64)
	}
	var err error
	if it.Type[0] == 'u' {
		u, err = strconv.ParseUint(text, 10, bits)
	} else {
		var i int64
		i, err = strconv.ParseInt(text, 10, bits)
		u = uint64(i)
	}
	return binary.BigEndian.AppendUint64(nil, u), err
}

var _ collect.Writer = (*Driver)(nil)
