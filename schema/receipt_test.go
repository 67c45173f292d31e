package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gnomon/schema"
	"gnomon/shadow"
)

// history applies updates one second after the other, from second 100 on.
func history(t testing.TB, updates ...string) *shadow.Document {
	t.Helper()
	var d *shadow.Document
	for i, text := range updates {
		u, err := shadow.ParseUpdate([]byte(`{"state":`+text+`}`), shadow.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = d.Apply(u, int64(100+i), shadow.DefaultLimits); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func summary(all []schema.Receipt) string {
	var parts []string
	for _, r := range all {
		s := fmt.Sprintf("%s=%s %s @%d", r.Path, r.Value.AppendJSON(nil), r.Status, r.Asked)
		if r.Applied != 0 {
			s += fmt.Sprintf("-%d", r.Applied)
		}
		if r.Code != "" {
			s += fmt.Sprintf(" %s×%d", r.Code, r.Attempts)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

func TestReceiptsOf(t *testing.T) {
	const running = `"phase":"running","observedVersion":`
	for name, test := range map[string]struct {
		shadow  string
		updates []string
		want    string
	}{
		"nothing desired": {"", []string{`{"reported":{"a":1}}`}, ""},
		"a device": {"", []string{`{"desired":{"a":1,"b":{"c":[1,2],"d":{}},"e.f":"x"}}`, `{"reported":{"a":1.0,"b":{"c":[1]}}}`},
			`a=1 applied @100-101; b.c=[1,2] pending @100; b.d={} pending @0; e\.f="x" pending @100`},
		"asked for again": {"", []string{`{"desired":{"a":1}}`, `{"reported":{"a":1}}`, `{"desired":{"a":2}}`}, `a=2 pending @102`},
		"an application": {"app:web", []string{`{"desired":{"component":"w@1"}}`, `{"reported":{"component":"w@1",` + running + `1}}`},
			`component="w@1" applied @100-101`},
		"overridden": {"app:web", []string{`{"desired":{"component":"w@1","run":{"env":{"A":"1","B":"2"}}}}`,
			`{"reported":{"component":"w@1","run":{"env":{"A":"9"}},` + running + `1,"override":{"kind":"changed","paths":["run.env.A"]}}}`},
			`component="w@1" applied @100-101; run.env.A="1" pending @100 overridden×0; run.env.B="2" pending @100`},
		"taken off": {"app:web", []string{`{"desired":{"component":"w@1"}}`, `{"reported":{"phase":"pending","override":{"kind":"removed"}}}`},
			`component="w@1" pending @100 overridden×0`},
		"failing": {"app:web", []string{`{"desired":{"component":"w@1"}}`,
			`{"reported":{"phase":"backoff","observedVersion":1,"attempts":3,"error":{"code":"component-not-found","message":"m","retryable":true}}}`},
			`component="w@1" failed @100 component-not-found×3`},
		"refused": {"app:web", []string{`{"desired":{"component":"w@1"}}`,
			`{"reported":{"phase":"failed","observedVersion":1,"error":{"code":"unsupported","message":"m","retryable":false}}}`},
			`component="w@1" rejected @100 unsupported×0`},
		"a fault of what is no longer desired": {"app:web", []string{`{"desired":{"component":"w@1"}}`,
			`{"reported":{"phase":"failed","observedVersion":1,"error":{"code":"unsupported","message":"m","retryable":false}}}`,
			`{"desired":{"component":"w@2"}}`}, `component="w@2" pending @102`},
		"applied in part": {"app:web", []string{`{"desired":{"component":"w@1","run":{"env":{"A":"1"}}}}`,
			`{"reported":{"component":"w@1","run":{"env":{"A":"1"}},` + running + `1}}`, `{"desired":{"run":{"env":{"A":"2"}}}}`},
			`component="w@1" applied @100-101; run.env.A="2" pending @102`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summary(schema.ReceiptsOf(test.shadow, history(t, test.updates...))); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	if schema.ReceiptsOf("", nil) != nil {
		t.Error("receipts of a shadow that never was")
	}
}

// What isn't applied is what the delta has, path by path.
func TestReceiptsOf_AgreeWithTheDelta(t *testing.T) {
	leaf := rapid.SampledFrom([]string{`1`, `"x"`, `{}`, `[1,{"a":2}]`, `true`, `{"a":1,"b":{"c":2}}`, `{"b":{"c":3}}`})
	key := rapid.SampledFrom([]string{"a", "b", "c.d"})
	section := rapid.Custom(func(t *rapid.T) string {
		var members []string
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			members = append(members, fmt.Sprintf("%q:%s", key.Draw(t, "key"), leaf.Draw(t, "value")))
		}
		return "{" + strings.Join(members, ",") + "}"
	})
	rapid.Check(t, func(rt *rapid.T) {
		d := history(t, `{"desired":`+section.Draw(rt, "desired")+`,"reported":`+section.Draw(rt, "reported")+`}`)
		var pending []string
		for _, r := range schema.ReceiptsOf("", d) {
			if r.Status != schema.ReceiptApplied {
				pending = append(pending, r.Path)
			}
		}
		if delta := shadow.Paths(d.Delta()); fmt.Sprint(delta) != fmt.Sprint(pending) && len(delta)+len(pending) > 0 {
			rt.Errorf("delta %v, not applied %v", delta, pending)
		}
	})
}
