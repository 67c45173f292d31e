package index

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSelector(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"", ""},
		{"  ", ""},
		{"zone=east", "label.zone=east"},
		{"label.zone==east", "label.zone=east"},
		{"example.com/tier", "label.example.com/tier"},
		{"!converged", "!converged"},
		{" phase in ( failed , backoff ) , site!=s1", "phase in (failed,backoff),site!=s1"},
		{"phase notin(failed)", "phase notin (failed)"},
		{"component^=web@", "component^=web@"},
		{"pendingFor>10m", "pendingFor>10m"},
		{"pendingFor<=2d", "pendingFor<=2d"},
		{"label.rack>=5", "label.rack>=5"},
		{"rack<0.5", "label.rack<0.5"},
		{"zone=", `label.zone=""`},
		{`zone="a, \"b\" \\"`, `label.zone="a, \"b\" \\"`},
		{"site=台区-7", "site=台区-7"},
		{"in=a", "label.in=a"},
		{"in in (in)", "label.in in (in)"},
		{"desired.run.env.A=1,reported.pid", "desired.run.env.A=1,reported.pid"},
		{`"desired.items.#(name==\"a\").v">5`, `"desired.items.#(name==\"a\").v">5`},
		{"label.site=x", "label.site=x"},
		{"kind=application,!error", "kind=application,!error"},
	} {
		s, err := ParseSelector(tt.in)
		if err != nil || s.String() != tt.out {
			t.Errorf("%q: %q, %v; want %q", tt.in, s.String(), err, tt.out)
		}
	}
}

// An error says where, about what, and what may stand there.
func TestParseSelector_Errors(t *testing.T) {
	for _, tt := range []struct {
		in       string
		position int
		field    string
		message  string
		allowed  string
	}{
		{",", 1, "", "can't stand here", "a key"},
		{"phase=running,", 15, "", "ends too early", "a key"},
		{"phase=running;x=1", 14, "phase", "can't stand here", "a comma"},
		{"phase>5", 6, "phase", "phase does not take >", "=, !=, in"},
		{"phase ~ x", 7, "phase", "can't stand here", "notin"},
		{"kind=app", 6, "kind", `"app" is no value`, "node, application, policy, shadow"},
		{"converged=yes", 11, "converged", `"yes" is no value`, "true, false"},
		{"pendingFor>10", 12, "pendingFor", "can't be compared", "10m"},
		{"pendingFor>9999d", 12, "pendingFor", "can't be compared", "3650d"},
		{"pendingFor=10m", 11, "pendingFor", "does not take =", ">, >="},
		{"rack>high", 6, "rack", "can't be compared", "a number"},
		{"rack>NaN", 6, "rack", "can't be compared", "a number"},
		{"site in a", 9, "site", "can't stand here", "( and values"},
		{"site in (a;b)", 11, "site", "can't stand here", "a comma, or )"},
		{"site in (a,b", 13, "site", "ends too early", "a comma, or )"},
		{`site="a`, 6, "site", "not closed", ""},
		{"Site=a", 1, "", `"Site" is no key`, "site, or label.Site"},
		{"label=a", 1, "", "needs the name", "label.<name>"},
		{"label.-a=b", 1, "", "can't be a label", "letters, digits"},
		{"desired=a", 1, "", "is empty", "desired.<path>"},
		{"reported.a..b=1", 1, "", "empty part", "reported.<path>"},
		{`"desired.@this"`, 1, "", "begins with '@'", "desired.<path>"},
		{"site^=", 7, "site", "the prefix is empty", "one character"},
		{"台区=1,site>1", 1, "", "can't be a label", ""},
		{"name=台区,site>1", 13, "site", "does not take >", ""},
		{"a=\xff", 1, "", "UTF-8", ""},
		{strings.Repeat("a", MaxSelector+1), MaxSelector + 1, "", "at most 4096 bytes", ""},
		{strings.Repeat("a,", MaxRequirements) + "a", 2*MaxRequirements + 1, "", "at most 32 requirements", ""},
		{"a in (" + strings.Repeat("b,", MaxValues) + "b)", 7 + 2*MaxValues, "a", "at most 256 values", ""},
	} {
		_, err := ParseSelector(tt.in)
		var e *SelectorError
		if !errors.As(err, &e) {
			t.Errorf("%.40q: %v", tt.in, err)
			continue
		}
		if e.Position != tt.position || e.Field != tt.field || !strings.Contains(e.Message, tt.message) || !strings.Contains(e.Allowed, tt.allowed) {
			t.Errorf("%.40q: %+v", tt.in, *e)
		}
	}
}

// selectors draws any selector there can be.
func selectors() *rapid.Generator[Selector] {
	fields := make([]Field, 0, len(rules))
	for f := range rules {
		fields = append(fields, f)
	}
	slices.Sort(fields)
	return rapid.Custom(func(t *rapid.T) Selector {
		s := make(Selector, rapid.IntRange(0, 5).Draw(t, "requirements"))
		for i := range s {
			s[i] = drawRequirement(t, fields)
		}
		if len(s) == 0 {
			return nil
		}
		return s
	})
}

func drawRequirement(t *rapid.T, fields []Field) Requirement {
	r := Requirement{Field: rapid.SampledFrom(fields).Draw(t, "field")}
	rule := rules[r.Field]
	r.Op = rapid.SampledFrom(rule.ops).Draw(t, "op")
	switch r.Field {
	case Label:
		r.Name = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._/-]{0,62}`).Draw(t, "label")
	case Desired, Reported:
		r.Name = rapid.StringMatching(`[a-z"#()=台 \\]{1,8}(\.[a-z*?]{1,5}){0,3}`).Draw(t, "path")
	}
	n := 1
	switch r.Op {
	case Exists, Absent:
		return r
	case In, NotIn:
		n = rapid.IntRange(1, 4).Draw(t, "values")
	}
	value := rapid.String()
	switch {
	case rule.values != nil:
		value = rapid.SampledFrom(rule.values)
	case slices.Contains(numericOps, r.Op) && r.Field == PendingFor:
		value = rapid.Custom(func(t *rapid.T) string {
			return time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "age")).String()
		})
	case slices.Contains(numericOps, r.Op):
		value = rapid.StringMatching(`-?[0-9]{1,9}(\.[0-9]{1,4})?(e[+-][0-9])?`)
	case r.Op == Prefix:
		value = rapid.StringN(1, 8, -1)
	}
	for range n {
		r.Values = append(r.Values, value.Draw(t, "value"))
	}
	return r
}

// What is written is read as the same.
func TestSelector_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := selectors().Draw(t, "selector")
		text := s.String()
		again, err := ParseSelector(text)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%q reads as %#v, %v", text, again, err)
		}
	})
}

func FuzzParseSelector(f *testing.F) {
	for _, seed := range []string{"zone=east,!converged", "phase in (failed,backoff)", `site="a \" b"`, "pendingFor>10m", `"desired.a.#(b==\"c\")"!=5`, "a notin(b", "é^=ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSelector(text)
		if err != nil {
			var e *SelectorError
			if !errors.As(err, &e) || e.Position < 1 || e.Position > len(text)+1 && len(text) <= MaxSelector {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := ParseSelector(s.String())
		if len(s.String()) <= MaxSelector && (err != nil || !reflect.DeepEqual(s, again)) {
			t.Fatalf("%q is written %q, which reads as %#v, %v", text, s.String(), again, err)
		}
		m := compile(s, time.Unix(1, 0))
		m.row(&row{thing: thingNamed("t"), shadow: none, phase: none, component: none, fault: none}) // must not panic
		for _, r := range m.docs {
			pathHolds([]byte(`{"a":[{"b":"c"},{"b":5}],"d":{"e":true}}`), r)
		}
	})
}
