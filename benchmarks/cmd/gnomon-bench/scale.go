package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"gnomon/benchmarks/load"
)

const scaleClients = 100

// spread publishes updates to things of a store in turns, so that each is as
// warm as any other.
func spread(clients, things int, address string) load.MQTT {
	body, digits := document()
	return load.MQTT{Address: address, Clients: clients, Window: 8, Topics: things, Packet: func(int) (string, []byte, int) {
		return "$aws/things/many-00000000/shadow/update", body, digits
	}}
}

// document is an update that makes, or changes a member of, a shadow of 1 KB.
func document() (body []byte, digits int) {
	var b strings.Builder
	b.WriteString(`{"state":{"reported":{"seq":"00000000"`)
	for i := 0; b.Len() < 1010; i++ {
		fmt.Fprintf(&b, `,"point%02d":{"value":%d.5,"unit":"kW"}`, i, 100+i)
	}
	b.WriteString("}}}")
	return []byte(b.String()), strings.Index(b.String(), "00000000")
}

// measureScale compares a small store with a large one.
func measureScale(ctx context.Context, s settings) ([]Figure, error) {
	var servers [2]*server
	var fleets [2]*load.Fleet
	var live [2]float64
	counts := [2]int{1000, s.Things}
	for i, things := range counts {
		srv, err := startCloud(ctx, "--cache", "2048")
		if err != nil {
			return nil, err
		}
		defer srv.stop()
		if fleets[i], err = spread(scaleClients, things, srv.mqtt).Connect(ctx); err != nil {
			return nil, err
		}
		defer fleets[i].Close()
		servers[i] = srv
		for made := 0.0; made < float64(things); {
			if err := fleets[i].Once(things); err != nil {
				return nil, err
			}
			if made, err = cached(ctx, srv.http); err != nil {
				return nil, err
			}
		}
		if err := settle(ctx, fleets[i], srv.http); err != nil {
			return nil, err
		}
		if live[i], err = liveHeap(ctx, srv.http); err != nil {
			return nil, err
		}
	}
	var cost, rates [2][]float64
	for range s.Rounds {
		for i, f := range fleets {
			servers[i].mark()
			n, err := f.Run(s.Slice)
			if err != nil {
				return nil, err
			}
			cost[i] = append(cost[i], servers[i].mark()*1e6/float64(n))
			rates[i] = append(rates[i], rate(n, s.Slice))
		}
	}
	perShadow := (live[1] - live[0]) / float64(counts[1]-counts[0])
	return []Figure{
		figureOf("processor time of an update at 1,000 things", "µs", cost[0]...),
		figureOf(fmt.Sprintf("processor time of an update at %d things", s.Things), "µs", cost[1]...),
		figureOf(fmt.Sprintf("÷ that at 1,000 things, %d things", s.Things), "", ratios(cost[1], cost[0])...).atMost(1.15),
		figureOf(fmt.Sprintf("durable updates at %d things, %d clients, window 8", s.Things, scaleClients), "/s", rates[1]...),
		figureOf("live memory of a hot shadow of 1 KB", "bytes", perShadow).atMost(4096),
	}, nil
}

// settle goes on until the heap has been filled and collected twice: growing it for
// the first time costs what no later update does.
func settle(ctx context.Context, f *load.Fleet, address string) error {
	const count = "go_gc_duration_seconds_count"
	before, err := metric(ctx, address, count)
	for done := before; err == nil && done < before+2; {
		if err = f.Once(20_000); err == nil {
			done, err = metric(ctx, address, count)
		}
	}
	return err
}

// liveHeap returns the bytes that the last garbage collection found in use.
func liveHeap(ctx context.Context, address string) (float64, error) {
	next, err := metric(ctx, address, "go_memstats_next_gc_bytes")
	if err != nil {
		return 0, err
	}
	percent, err := metric(ctx, address, "go_gc_gogc_percent")
	return next / (1 + percent/100), err
}

// cached returns how many shadows are in memory.
func cached(ctx context.Context, address string) (float64, error) {
	return metric(ctx, address, "gnomon_shadow_cached")
}

func metric(ctx context.Context, address, name string) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
