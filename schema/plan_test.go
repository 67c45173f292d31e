package schema_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/schema"
	"gnomon/shadow"
)

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

func reported(p *shadow.Value) *shadow.Value {
	return shadow.NewObject(shadow.Member{Key: schema.PlanMember, Value: p})
}

func TestPlan_AsReported(t *testing.T) {
	at := time.Date(2026, 11, 21, 7, 49, 53, 125_900_000, time.UTC)
	p := schema.Plan{Version: 7, Trace: traceID, At: at}
	first := p.With(schema.StepPlan, at)
	p = first.With("stop", at.Add(time.Millisecond)).With("start", at.Add(15*time.Millisecond+900*time.Microsecond))
	p = p.With("stop", at.Add(40*time.Millisecond)).With("start", at.Add(-time.Hour)) // the clock was set back
	const want = `{"at":"2026-11-21T07:49:53.125Z","steps":{"plan":0,"start":0,"stop":40},"trace":"` + traceID + `","version":7}`
	if got := string(p.Value().AppendJSON(nil)); got != want {
		t.Errorf("reported as %s, want %s", got, want)
	}
	if len(first.Steps) != 1 {
		t.Errorf("the plan it came from has become %+v", first)
	}
	if (schema.Plan{}).Value() != nil {
		t.Error("no plan is reported as something")
	}
}

func TestPlanOf(t *testing.T) {
	for text, want := range map[string]schema.Plan{
		`{"version":3}`: {Version: 3},
		`{"version":3,"trace":"no","at":7,"steps":[1]}`: {Version: 3},
		`{"version":3,"trace":"` + traceID + `","steps":{"start":15,"plan":1,"stop":1,"x":-1,"y":1.5,"z":"1","aaaaaaaaaaaaaaaaaaaaaaaa":1,"w":99999999999999999}}`: {
			Version: 3, Trace: traceID, Steps: []schema.PlanStep{{"plan", schema.Duration(time.Millisecond)}, {"stop", schema.Duration(time.Millisecond)}, {"start", schema.Duration(15 * time.Millisecond)}}},
		`{}`: {}, `{"version":"3"}`: {}, `[]`: {}, `7`: {},
	} {
		v, err := shadow.Parse([]byte(`{"plan":`+text+`}`), shadow.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := schema.PlanOf(v); ok != (want.Version > 0) || !reflect.DeepEqual(got, want) {
			t.Errorf("PlanOf(%s) = %+v, %v", text, got, ok)
		}
	}
	var many strings.Builder
	for _, c := range "abcdefghijklmnop" {
		many.WriteString(`"` + string(c) + `":1,`)
	}
	v, err := shadow.Parse([]byte(`{"plan":{"version":1,"steps":{`+strings.TrimSuffix(many.String(), ",")+`}}}`), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := schema.PlanOf(v); len(p.Steps) != schema.MaxPlanSteps {
		t.Errorf("%d steps are read", len(p.Steps))
	}
}

// A plan that is reported is read as what it was.
func TestPlan_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "at")).UTC()
		p := schema.Plan{Version: rapid.Uint64Min(1).Draw(t, "version"), At: at, Trace: rapid.SampledFrom([]string{"", traceID}).Draw(t, "trace")}
		now := at
		for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"plan", "fetch", "stop", "start", "apply"}), 0, 12).Draw(t, "steps") {
			now = now.Add(time.Duration(1+rapid.IntRange(0, 1e6).Draw(t, "pause")) * time.Millisecond)
			p = p.With(name, now)
		}
		got, ok := schema.PlanOf(reported(p.Value()))
		if len(p.Steps) == 0 {
			p.Steps = nil
		}
		if !ok || !reflect.DeepEqual(got, p) {
			t.Fatalf("%+v became %+v", p, got)
		}
	})
}

func TestOutcomeOf(t *testing.T) {
	for _, test := range []struct {
		shadow, reported string
		observed         uint64
		code             string
	}{
		{"app:web", `{"observedVersion":7,"error":{"code":"invalid"}}`, 7, "invalid"},
		{"app:web", `{"node":{"observedVersion":7}}`, 0, ""},
		{"", `{"node":{"observedVersion":7}}`, 7, ""},
		{"collect:m", `{"observedVersion":"7"}`, 0, ""},
	} {
		v, err := shadow.Parse([]byte(test.reported), shadow.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		observed, fault := schema.OutcomeOf(test.shadow, v)
		code := ""
		if fault != nil {
			code = fault.Code
		}
		if observed != test.observed || code != test.code {
			t.Errorf("%s %s: %d, %q", test.shadow, test.reported, observed, code)
		}
	}
	if observed, fault := schema.OutcomeOf("app:web", nil); observed != 0 || fault != nil {
		t.Error("nothing is reported, and has an outcome")
	}
}
