package schema_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

func TestOverride_IsReadAsReported(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, want := range []schema.Override{
		{Kind: schema.OverrideChanged, Reason: "hot", By: "root", At: at, Until: at.Add(time.Hour), Base: 7, Paths: []string{"run.env.A", "state"}, Conflicts: []string{"state"}},
		{Kind: schema.OverrideInstalled, By: "root", At: at, Until: at},
	} {
		got, ok := schema.OverrideOf(shadow.NewObject(shadow.Member{Key: schema.OverrideMember, Value: want.Value()}))
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v %v, want %+v", got, ok, want)
		}
	}
}

// A device may report anything.
func TestOverrideOf_IsBounded(t *testing.T) {
	long := strings.Repeat("x", 1000)
	paths := make([]*shadow.Value, 1000)
	for i := range paths {
		paths[i] = shadow.Text(long)
	}
	reported := shadow.NewObject(shadow.Member{Key: schema.OverrideMember, Value: shadow.NewObject(
		shadow.Member{Key: "kind", Value: shadow.Text("changed")},
		shadow.Member{Key: "reason", Value: shadow.Text(long)},
		shadow.Member{Key: "by", Value: shadow.Text(long)},
		shadow.Member{Key: "until", Value: shadow.Int(7)},
		shadow.Member{Key: "paths", Value: shadow.NewArray(paths...)},
	)})
	o, ok := schema.OverrideOf(reported)
	if !ok || len(o.Reason) != schema.MaxReason || len(o.By) != schema.MaxBy || len(o.Paths) != schema.MaxOverridePaths || len(o.Paths[0]) > 256 {
		t.Errorf("%v, reason %d, by %d, paths %d", ok, len(o.Reason), len(o.By), len(o.Paths))
	}
	for _, text := range []string{`{}`, `{"override":1}`, `{"override":{"kind":"x"}}`, `{"override":{"kind":null}}`} {
		v, err := shadow.Parse([]byte(text), shadow.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := schema.OverrideOf(v); ok {
			t.Errorf("%s passes for an override", text)
		}
	}
}

func TestOverride_Covers(t *testing.T) {
	o := schema.Override{Kind: schema.OverrideChanged, Paths: []string{"run.env.A", "run.resources"}}
	for path, want := range map[string]bool{
		"run.env.A": true, "run.env.AB": false, "run.resources.memory": true, "run": true, "state": false,
	} {
		if o.Covers(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
	if !(schema.Override{Kind: schema.OverrideRemoved}).Covers("state") {
		t.Error("what is taken off the node is held back, all of it")
	}
}

// An application that is overridden isn't what is desired, even where nothing of
// desired is missing.
func TestStatusOf_OverriddenHasNotConverged(t *testing.T) {
	d := history(t, `{"desired":{"component":"w@1"}}`,
		`{"reported":{"component":"w@1","phase":"running","observedVersion":1,"run":{"env":{"A":"1"}},"override":{"kind":"changed","reason":"r","by":"root","until":"2026-01-01T00:00:00Z","paths":["run.env.A"]}}}`)
	s := schema.StatusOf("app:web", d)
	if s.Converged || s.Override == nil || s.Override.Text() != "overridden on the node by root until 2026-01-01T00:00:00Z: r" {
		t.Errorf("%+v", s)
	}
}
