package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"gnomon/benchmarks/load"
	"gnomon/simulator/mqtt"
)

const restWorkers = 64

// desires posts a change of desired to a thing of each worker.
func desires(worker int) (string, []byte, int) {
	text := `{"state":{"desired":{"mode":"auto","rev":"00000000","limits":{"hi":95.5,"lo":10.25},"site":"substation-7"}}}`
	return fmt.Sprintf("/things/rest-%03d/shadow", worker), []byte(text), len(`{"state":{"desired":{"mode":"auto","rev":"`)
}

// measureREST takes writes over HTTP, whose deltas a device receives over MQTT.
func measureREST(ctx context.Context, s settings) ([]Figure, error) {
	cloud, err := startCloud(ctx)
	if err != nil {
		return nil, err
	}
	defer cloud.stop()
	echo, err := startPeer(ctx, "http")
	if err != nil {
		return nil, err
	}
	defer echo.stop()
	device, err := listenDeltas(ctx, cloud.mqtt)
	if err != nil {
		return nil, err
	}
	defer device.conn.Close()
	out, err := oneInFlight(ctx, s, cloud, device)
	if err != nil {
		return nil, err
	}
	servers := []*server{cloud, echo}
	rates := make([][]float64, 2)
	var posters [2]*load.Posters
	for i, srv := range servers {
		if posters[i], err = (load.HTTP{Address: srv.http, Workers: restWorkers, Request: desires}).Connect(ctx); err != nil {
			return nil, err
		}
		defer posters[i].Close()
	}
	for range s.Rounds {
		for i, p := range posters {
			before := device.seen.Load()
			n, err := p.Run(s.Slice)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", servers[i].name, err)
			}
			if i == 0 && device.seen.Load()-before < n*9/10 {
				return nil, fmt.Errorf("%d writes, %d deltas", n, device.seen.Load()-before)
			}
			rates[i] = append(rates[i], rate(n, s.Slice))
		}
	}
	at := fmt.Sprintf("%d workers", restWorkers)
	return append(out,
		figureOf("REST write to delta, "+at, "/s", rates[0]...),
		figureOf("÷ bare echo JSON POST, "+at, "", ratios(rates[0], rates[1])...).atLeast(0.18),
	), nil
}

// device receives deltas of all things.
type device struct {
	conn *mqtt.Conn
	seen atomic.Int64
	each chan time.Time
}

func listenDeltas(ctx context.Context, address string) (*device, error) {
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn, err := mqtt.Connect(ctx, nc, mqtt.Options{ClientID: "device"})
	if err != nil {
		return nil, err
	}
	d := &device{conn: conn, each: make(chan time.Time, 1)}
	if _, err := conn.Subscribe(0, "$aws/things/+/shadow/update/delta"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if p, err := conn.Next(); err != nil || p.Type != mqtt.SUBACK {
		return nil, errors.Join(fmt.Errorf("no SUBACK: %+v", p), err, conn.Close())
	}
	go d.receive()
	return d, nil
}

// receive counts deltas until the connection ends, and tells when one came to
// whoever waits for it.
func (d *device) receive() {
	for {
		p, err := d.conn.Next()
		if err != nil {
			return
		}
		if p.Type != mqtt.PUBLISH {
			continue
		}
		d.seen.Add(1)
		select {
		case d.each <- time.Now():
		default:
		}
	}
}

// drain forgets what nobody waited for.
func (d *device) drain() {
	select {
	case <-d.each:
	default:
	}
}

// oneInFlight times a write until its delta has arrived.
func oneInFlight(ctx context.Context, s settings, cloud *server, d *device) ([]Figure, error) {
	one, err := (load.HTTP{Address: cloud.http, Workers: 1, Request: desires}).Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer one.Close()
	var all []float64
	for end := time.Now().Add(time.Duration(s.Rounds) * s.Slice); time.Now().Before(end); {
		d.drain()
		began := time.Now()
		if err := one.Post(); err != nil {
			return nil, err
		}
		select {
		case at := <-d.each:
			all = append(all, float64(at.Sub(began))/1e6)
		case <-time.After(5 * time.Second):
			return nil, fmt.Errorf("no delta after %d writes", len(all))
		}
	}
	slices.Sort(all)
	p50 := figureOf("REST write to delta at the device, one in flight, p50", "ms", all[len(all)/2])
	p99 := figureOf("REST write to delta at the device, one in flight, p99", "ms", all[len(all)*99/100]).atMost(2)
	return []Figure{p50, p99}, nil
}
