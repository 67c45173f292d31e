package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/goburrow/modbus"

	"gnomon/edge/collect"
	driver "gnomon/edge/collect/modbus"
	"gnomon/schema"
	"gnomon/simulator/bank"
)

const (
	modbusUnits = 20
	modbusModel = "sdm630"
)

// measureModbus compares how many values our driver reads over Modbus TCP with a
// bare loop of goburrow's client that reads the same registers one item after the
// other, from the same slaves, in turns: with slaves that answer at once, which is
// the least that joining requests can bring, and with such as take 2 ms.
func measureModbus(ctx context.Context, s settings) (all []Figure, err error) {
	for _, delay := range []time.Duration{0, 2 * time.Millisecond} {
		found, err := measureModbusAt(ctx, s, delay)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func measureModbusAt(ctx context.Context, s settings, delay time.Duration) (all []Figure, err error) {
	b, err := bank.New(bank.Config{Units: modbusUnits, Delay: delay})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(serving, l) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	ours, err := newPoller(l.Addr().String())
	if err != nil {
		return nil, err
	}
	defer ours.driver.Release(ours.policy.Source)
	theirs := newLoop(l.Addr().String())
	defer theirs.handler.Close()
	var a, c []float64
	for round := range s.Rounds + 1 {
		for _, side := range []struct {
			to   *[]float64
			read func(context.Context, int) (int, error)
		}{{&a, ours.read}, {&c, theirs.read}} {
			n, took, err := during(ctx, s.Slice, side.read)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first is for warming up
				*side.to = append(*side.to, rate(int64(n), took))
			}
		}
	}
	at := "meters that answer at once"
	if delay > 0 {
		at = fmt.Sprintf("meters that take %v", delay)
	}
	return []Figure{
		figureOf("values over Modbus TCP, "+at, "/s", a...),
		figureOf("÷ goburrow reading them one by one, "+at, "", ratios(a, c)...).atLeast(5),
	}, nil
}

// during reads one meter after the other for a time, and returns the values read.
func during(ctx context.Context, slice time.Duration, read func(context.Context, int) (int, error)) (values int, took time.Duration, err error) {
	began := time.Now()
	for i := 0; took < slice; i++ {
		n, err := read(ctx, i%modbusUnits+1)
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		if err != nil {
			return 0, 0, err
		}
		values += n
		took = time.Since(began)
	}
	return values, took, ctx.Err()
}

// poller is our side.
type poller struct {
	driver *driver.Driver
	policy *schema.Policy
}

func newPoller(address string) (*poller, error) {
	p, err := schema.ParsePolicy(fmt.Appendf(nil, `{"source":{"kind":"modbus-tcp","address":%q},"meters":[{"id":"m","model":%q}]}`, address, modbusModel))
	return &poller{driver.New(), p}, err
}

func (p *poller) read(ctx context.Context, unit int) (int, error) {
	m := p.policy.Meters[0]
	m.Unit = unit
	items := p.policy.ItemsOf(m)
	result, err := p.driver.Poll(ctx, collect.Request{Source: p.policy.Source, Meter: m, Items: items})
	if err != nil {
		return 0, err
	}
	for _, it := range items {
		if result.Values[it.Name].Value == nil {
			return 0, fmt.Errorf("unit %d: %s: %w", unit, it.Name, result.Values[it.Name].Err)
		}
	}
	return len(items), nil
}

// loop is the other side.
type loop struct {
	handler *modbus.TCPClientHandler
	client  modbus.Client
	items   []schema.Item
}

func newLoop(address string) *loop {
	h := modbus.NewTCPClientHandler(address)
	h.Timeout = time.Second
	model, _ := schema.ModelNamed(modbusModel)
	return &loop{h, modbus.NewClient(h), model.Items}
}

func (l *loop) read(_ context.Context, unit int) (int, error) {
	l.handler.SlaveId = byte(unit)
	for _, it := range l.items {
		data, err := l.client.ReadInputRegisters(uint16(it.Address), 2)
		if err != nil {
			return 0, err
		}
		if got := math.Float32frombits(binary.BigEndian.Uint32(data)); got != bank.Float(unit, it.Address) {
			return 0, fmt.Errorf("unit %d: %s is %v", unit, it.Name, got)
		}
	}
	return len(l.items), nil
}
