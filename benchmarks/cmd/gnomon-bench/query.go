package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"gnomon/benchmarks/load"
)

// querySites is how many sites the things are spread over.
const querySites = 100

// question is one that a cloud with many things is asked over HTTP.
type question struct {
	name     string
	selector func(n int) string // of the nth question
	items    int                // that the answer has at least
	bound    float64            // milliseconds at the 99th percentile; 0: none
}

// measureQuery asks a cloud with many things, one question at a time.
func measureQuery(ctx context.Context, s settings) ([]Figure, error) {
	srv, err := startCloud(ctx, "--cache", "2048")
	if err != nil {
		return nil, err
	}
	defer srv.stop()
	if err := populate(ctx, srv, s.Things); err != nil {
		return nil, err
	}
	var figures []Figure
	for _, q := range []question{
		{"by site", func(n int) string { return fmt.Sprintf("site=site-%02d", n%querySites) }, 100, 50},
		{"by a label that one thing has", func(n int) string { return fmt.Sprintf("label.row=%08d", n*7919%s.Things+1) }, 1, 50},
		{"by a path, a site's documents read", func(n int) string { return fmt.Sprintf("site=site-%02d,reported.point03.value>1000", n%querySites) }, 0, 0},
		{"by a path, 10,000 documents read", func(int) string { return "reported.point03.value>1000" }, 0, 0},
	} {
		var p50, p99 []float64
		for range s.Rounds {
			times, err := ask(ctx, srv.http, q, s.Slice)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", q.name, err)
			}
			p50, p99 = append(p50, percentile(times, 0.5)), append(p99, percentile(times, 0.99))
		}
		name := fmt.Sprintf("query of %d things %s, ", s.Things, q.name)
		last := figureOf(name+"p99", "ms", p99...)
		if q.bound > 0 {
			last = last.atMost(q.bound)
		}
		figures = append(figures, figureOf(name+"p50", "ms", p50...), last)
	}
	return figures, nil
}

// populate makes nodes with a site, a label of their own and a reported state.
func populate(ctx context.Context, srv *server, things int) error {
	body, _ := document()
	var doc struct {
		State struct{ Reported map[string]any }
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return err
	}
	fleet, err := load.MQTT{Address: srv.mqtt, Clients: querySites, Window: 8, Topics: things, Packet: func(client int) (string, []byte, int) {
		node, err := json.Marshal(map[string]any{"state": map[string]any{
			"desired":  map[string]any{"node": map[string]any{"site": fmt.Sprintf("site-%02d", client), "labels": map[string]string{"row": rowDigits}}},
			"reported": doc.State.Reported,
		}})
		if err != nil {
			panic(err) // plain maps
		}
		return "$aws/things/many-00000000/shadow/update", node, slices.Index(node, 'R')
	}}.Connect(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	if err := fleet.Once(things); err != nil {
		return err
	}
	made, err := cached(ctx, srv.http)
	if err == nil && made < float64(things) {
		err = fmt.Errorf("%v of %d things were made", made, things)
	}
	return err
}

// rowDigits is where the counter goes.
const rowDigits = "R0000000"

// ask asks for d and returns how long each answer took, in milliseconds.
func ask(ctx context.Context, address string, q question, d time.Duration) (times []float64, err error) {
	for end, n := time.Now().Add(d), 0; time.Now().Before(end); n++ {
		began := time.Now()
		items, err := list(ctx, address, q.selector(n))
		if err != nil {
			return nil, err
		}
		times = append(times, float64(time.Since(began).Microseconds())/1000)
		if items < q.items {
			return nil, fmt.Errorf("%s: %d items, want %d", q.selector(n), items, q.items)
		}
	}
	return times, nil
}

func list(ctx context.Context, address, selector string) (items int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/shadows?limit=100&selector="+url.QueryEscape(selector), nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	var page struct{ Items []json.RawMessage }
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", answer.Status, body)
	}
	err = json.Unmarshal(body, &page)
	return len(page.Items), err
}

func percentile(times []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(times))
	return s[min(len(s)-1, int(p*float64(len(s))))]
}
