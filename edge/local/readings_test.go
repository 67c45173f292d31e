package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/readings"
	"gnomon/schema/reading"
)

var slot = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// kept is a store of one row, a line with one meter, and what was asked of them.
type kept struct {
	mu      sync.Mutex
	rows    int    // 0: one
	finding func() // what Find does, if anything
	query   readings.Query
	read    *reading.Read
}

func (k *kept) Find(_ context.Context, q readings.Query) ([]readings.Found, bool, error) {
	k.mu.Lock()
	k.query = q
	k.mu.Unlock()
	if k.finding != nil {
		k.finding()
	}
	rows := make([]readings.Found, max(1, k.rows))
	for i := range rows {
		rows[i] = readings.Found{Policy: "p", Meter: "m1", At: slot, Arrived: slot.Add(time.Second), Source: reading.Cycle, Values: []readings.FoundValue{
			{Item: "E", Value: reading.Value{State: reading.Missing, Reason: "timeout"}},
			{Item: "V", Value: reading.Value{State: reading.Good, Number: reading.Number{Mantissa: 2205, Exponent: -1}}},
		}}
	}
	return rows, true, nil
}

func (k *kept) Gaps(q readings.Query) ([]collect.Gap, error) {
	k.query = q
	if q.Policy != "p" {
		return nil, fmt.Errorf("%w: %s", collect.ErrUnknown, q.Policy)
	}
	return []collect.Gap{{Meter: "m1", At: slot, Items: []string{"E"}, Tried: 2}}, nil
}

func (k *kept) Read(_ context.Context, r *reading.Read) *reading.Answer {
	k.read = r
	return &reading.Answer{ID: r.ID, Error: &reading.Refusal{Code: reading.RefusedNone, Message: "nothing"}}
}

func TestServer_Readings(t *testing.T) {
	a := &agent{}
	c, _ := serve(t, a)
	var rows Rows
	if err := c.Ask(t.Context(), http.MethodGet, "/v1/readings?policy=p&meter=m1&item=V&item=E&from=2026-11-21T12:00:00Z&to=2026-11-21T13:00:00.5Z&limit=5", nil, &rows); err != nil {
		t.Fatal(err)
	}
	want := readings.Query{Policy: "p", Meter: "m1", Items: []string{"V", "E"}, From: slot, To: slot.Add(time.Hour + time.Second/2), Limit: 5}
	if got := a.kept.query; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	if len(rows.Rows) != 1 || !rows.More || rows.Rows[0].Values["V"].Value.String() != "220.5" || rows.Rows[0].Values["E"] != (Value{Reason: "timeout"}) ||
		!rows.Rows[0].At.Equal(slot) || rows.Rows[0].Source != reading.Cycle {
		t.Errorf("%+v", rows)
	}
	if err := c.Ask(t.Context(), http.MethodGet, "/v1/readings?policy=p&continue="+rows.Continue, nil, &rows); err != nil {
		t.Fatal(err)
	}
	if got := a.kept.query.After; got == nil || *got != (readings.Place{At: slot, Policy: "p", Meter: "m1"}) {
		t.Errorf("on after %+v", got)
	}
	var gaps []Gap
	if err := c.Ask(t.Context(), http.MethodGet, "/v1/readings/gaps?policy=p", nil, &gaps); err != nil || len(gaps) != 1 || gaps[0].Policy != "p" || gaps[0].Tried != 2 {
		t.Errorf("%+v, %v", gaps, err)
	}
	var answer reading.Answer
	if err := c.Ask(t.Context(), http.MethodPost, "/v1/readings/read", reading.Read{ID: "x", Policy: "p", Meter: "m1", Live: true, Deadline: 50}, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error == nil || answer.Error.Code != reading.RefusedNone || !a.kept.read.Live || a.kept.read.Deadline != 50 {
		t.Errorf("%+v, asked was %+v", answer, a.kept.read)
	}
	for path, status := range map[string]int{
		"/v1/readings?from=yesterday": 400, "/v1/readings?limit=0": 400, "/v1/readings?limit=10001": 400, "/v1/readings?colour=red": 400,
		"/v1/readings?continue=!": 400, "/v1/readings?continue=eA": 400, "/v1/readings?continue=eCB5IHo": 400,
		"/v1/readings/gaps": 400, "/v1/readings/gaps?policy=q": 404,
	} {
		var p *Problem
		if err := c.Ask(t.Context(), http.MethodGet, path, nil, nil); !errors.As(err, &p) || p.Status != status {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, bad := range []reading.Read{{Policy: "p", Meter: "m1"}, {Policy: "p", Deadline: 5}, {Meter: "m1", Deadline: 5}, {ID: "a b", Policy: "p", Meter: "m", Deadline: 5}} {
		var p *Problem
		if err := c.Ask(t.Context(), http.MethodPost, "/v1/readings/read", bad, nil); !errors.As(err, &p) || p.Status != http.StatusBadRequest {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Few answers are looked up and written at a time, each row by row; others wait.
func TestServer_ReadingsAtATime(t *testing.T) {
	const clients, rows = 6, 1000
	entered, leave := make(chan struct{}, clients), make(chan struct{})
	a := &agent{kept: kept{rows: rows, finding: func() {
		entered <- struct{}{}
		<-leave
	}}}
	c, _ := serve(t, a)
	answers := make(chan error, clients)
	for range clients {
		go func() {
			var got Rows
			err := c.Ask(t.Context(), http.MethodGet, "/v1/readings", nil, &got)
			if err == nil && (len(got.Rows) != rows || !got.More || got.Rows[rows-1].Values["V"].Value == nil) {
				err = fmt.Errorf("%d rows, and more: %v", len(got.Rows), got.More)
			}
			answers <- err
		}()
	}
	for range maxFinding {
		<-entered
	}
	select {
	case <-entered:
		t.Errorf("more than %d are looked up at a time", maxFinding)
	case <-time.After(100 * time.Millisecond):
	}
	close(leave)
	for range clients {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}
