package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/shadow"
)

// Write does what the agent of a test is told to.
func (a *agent) Write(_ context.Context, policy, meter, item string, v *shadow.Value) (collect.Value, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wrote = fmt.Sprint(policy, " ", meter, " ", item, " ", v.Text())
	return collect.Value{Value: v, At: time.Unix(1, 0)}, a.refuse
}

func TestServer_Write(t *testing.T) {
	a := &agent{}
	c, _ := serve(t, a)
	var out Wrote
	if err := c.Ask(t.Context(), http.MethodPost, "/v1/policies/boiler/write", Write{Meter: "b1", Item: "setpoint", Value: []byte("62.5")}, &out); err != nil {
		t.Fatal(err)
	}
	if a.wrote != "boiler b1 setpoint 62.5" || out.Policy != "boiler" || string(out.Value) != "62.5" || out.At.IsZero() {
		t.Errorf("%s: %+v", a.wrote, out)
	}
	a.wrote = ""
	for _, value := range []string{`"62.5"`, `null`, `[1]`, `{}`} {
		err := c.Ask(t.Context(), http.MethodPost, "/v1/policies/boiler/write", Write{Meter: "b1", Item: "setpoint", Value: []byte(value)}, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Status != http.StatusBadRequest || a.wrote != "" {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{collect.ErrUnknown, http.StatusNotFound, "unknown"},
		{collect.ErrNotWritable, http.StatusForbidden, "not-writable"},
		{collect.ErrOutOfRange, http.StatusBadRequest, "out-of-range"},
		{collect.ErrTooOften, http.StatusTooManyRequests, "too-often"},
		{collect.ErrNotTaken, http.StatusBadGateway, "not-taken"},
		{collect.ErrTimeout, http.StatusBadGateway, "timeout"},
		{collect.ErrException, http.StatusBadGateway, "exception"},
	} {
		a.refuse = fmt.Errorf("%w: details", test.err)
		err := c.Ask(t.Context(), http.MethodPost, "/v1/policies/boiler/write", Write{Meter: "b1", Item: "setpoint", Value: []byte("1")}, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Status != test.status || p.Code != test.code {
			t.Errorf("%v: %+v", test.err, err)
		}
	}
}
