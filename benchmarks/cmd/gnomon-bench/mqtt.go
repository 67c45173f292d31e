package main

import (
	"context"
	"fmt"
	"strings"

	"gnomon/benchmarks/load"
)

// payload is an update of 300 bytes and where its counter is.
func payload() (body []byte, digits int) {
	text := `{"state":{"reported":{"seq":"00000000","V":[230.1,229.8,231.4],"I":[4.12,4.76,3.05],"P":2629.4,"PF":0.957,"site":"substation-7","fw":"3.2.1","pad":"`
	text += strings.Repeat("x", 300-len(text)-len(`"}}}`)) + `"}}}`
	return []byte(text), strings.Index(text, "00000000")
}

// updates publishes one shadow update after the other, each client to a thing
// of its own.
func updates(prefix string) func(int) (string, []byte, int) {
	body, digits := payload()
	return func(client int) (string, []byte, int) {
		return fmt.Sprintf("%saws/things/bench-%06d/shadow/update", prefix, client), body, digits
	}
}

// measureMQTT takes durable updates over MQTT against brokers that keep nothing.
func measureMQTT(ctx context.Context, s settings) (out []Figure, err error) {
	servers, stop, err := brokers(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	for _, window := range []int{1, 8} {
		rates, cost, err := interleave(ctx, s, servers, window)
		if err != nil {
			return nil, err
		}
		at := fmt.Sprintf("%d clients, window %d", s.Clients, window)
		hook, plain := 0.60, 0.5
		if window == 8 {
			hook, plain = 0.75, 1.0
		}
		out = append(out,
			figureOf("durable updates, "+at, "/s", rates[0]...),
			figureOf("durable updates, processor time, "+at, "µs", cost[0]...),
			figureOf("÷ hook-only mochi, "+at, "", ratios(rates[0], rates[1])...).atLeast(hook),
			figureOf("÷ mosquitto's plain QoS 1, "+at, "", ratios(rates[0], rates[2])...).atLeast(plain),
		)
	}
	return out, nil
}

func brokers(ctx context.Context) (all []*server, stop func(), err error) {
	stop = func() {
		for _, s := range all {
			s.stop()
		}
	}
	for _, start := range []func() (*server, error){
		func() (*server, error) { return startCloud(ctx) },
		func() (*server, error) { return startPeer(ctx, "mqtt") },
		func() (*server, error) { return startMosquitto(ctx) },
	} {
		one, err := start()
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, one)
	}
	return all, stop, nil
}

// interleave loads the servers in turns and returns their rates and the
// microseconds of processor time of one operation, by server and round.
func interleave(ctx context.Context, s settings, servers []*server, window int) (rates, cost [][]float64, err error) {
	rates, cost = make([][]float64, len(servers)), make([][]float64, len(servers))
	fleets := make([]*load.Fleet, len(servers))
	for i, srv := range servers {
		prefix := "$"
		if srv.name == "mosquitto" {
			prefix = "" // it keeps $ to itself
		}
		if fleets[i], err = (load.MQTT{Address: srv.mqtt, Clients: s.Clients, Window: window, Packet: updates(prefix)}).Connect(ctx); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", srv.name, err)
		}
		defer fleets[i].Close()
		if _, err := fleets[i].Run(s.Slice / 2); err != nil { // warm
			return nil, nil, fmt.Errorf("%s: %w", srv.name, err)
		}
	}
	for range s.Rounds {
		for i, f := range fleets {
			servers[i].mark()
			n, err := f.Run(s.Slice)
			if err != nil || n == 0 {
				return nil, nil, fmt.Errorf("%s: %d operations: %w", servers[i].name, n, err)
			}
			rates[i] = append(rates[i], rate(n, s.Slice))
			cost[i] = append(cost[i], servers[i].mark()*1e6/float64(n))
		}
	}
	return rates, cost, nil
}
