package main

import (
	"slices"
	"testing"

	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

// An application that is installed on the node alone has nothing desired: what it
// is, it says itself.
func TestGet_Row(t *testing.T) {
	for name, c := range map[string]struct {
		desired, reported string
		want              []string
	}{
		"desired":               {`{"component":"web@1","mode":"host"}`, `{"component":"web@0","mode":"container","pid":7,"restarts":0}`, []string{"web", "host", "web@1", "running", "7", "0"}},
		"the default mode":      {`{"component":"web@1"}`, `{"mode":"host"}`, []string{"web", "container", "web@1", "running", "", ""}},
		"installed on the node": {``, `{"component":"web@1","mode":"host","pid":7}`, []string{"web", "host", "web@1", "running", "7", ""}},
	} {
		r := &client.Resource{Kind: schema.KindApplication, Name: "web", Desired: []byte(c.desired), Reported: []byte(c.reported), Status: &schema.Status{Phase: "running"}}
		if got := row(schema.KindApplication, r)[:6]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestWait_StateOf(t *testing.T) {
	pending := []string{"a", "b"}
	fault := &schema.Fault{Message: "no room"}
	for want, s := range map[string]schema.Status{
		"converged":           {Converged: true},
		"running, converged":  {Phase: "running", Converged: true},
		"2 pending":           {Pending: pending},
		"starting, 2 pending": {Phase: "starting", Pending: pending},
		"no room":             {Fault: fault, Pending: pending},
		"backoff: no room":    {Phase: "backoff", Fault: fault},
		"stopping":            {Phase: "stopping"},
		"":                    {},
	} {
		if got := stateOf(&client.Resource{Status: &s}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
