package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/readings"
	"gnomon/schema/reading"
)

var slot = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// kept is a store of one row, a line with one meter, and what was asked of them.
type kept struct {
	query readings.Query
	read  *reading.Read
}

func (k *kept) Find(_ context.Context, q readings.Query) ([]readings.Found, bool, error) {
	k.query = q
	return []readings.Found{{Policy: "p", Meter: "m1", At: slot, Arrived: slot.Add(time.Second), Source: reading.Cycle, Values: map[string]reading.Value{
		"V": {State: reading.Good, Number: reading.Number{Mantissa: 2205, Exponent: -1}},
		"E": {State: reading.Missing, Reason: "timeout"},
	}}}, true, nil
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
