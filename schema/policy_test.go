package schema

import (
	"strings"
	"testing"
	"time"

	"gnomon/shadow"
)

const goodPolicy = `{"source":{"kind":"modbus-tcp","address":"127.0.0.1:502"},"meters":[{"id":"m1","model":"sdm630"}],"period":"10s"}`

func TestParsePolicy_Defaults(t *testing.T) {
	p, err := ParsePolicy([]byte(goodPolicy))
	if err != nil {
		t.Fatal(err)
	}
	if !p.IsEnabled() || p.Priority != 5 || p.Source.Timeout.D() != time.Second || p.Meters[0].Unit != 1 || *p.Source.MaxHole != 16 {
		t.Errorf("%+v", p)
	}
	items := p.ItemsOf(p.Meters[0])
	if len(items) != 16 || items[0].Name != "V1" || items[0].Function != 4 || items[0].Type != "float32" || items[0].Scale != 1 {
		t.Errorf("items %+v", items)
	}
	if p.Report.Every != p.Period {
		t.Errorf("report every %v, want the period", p.Report.Every)
	}
}

func TestParsePolicy_Refuses(t *testing.T) {
	tcp := `"source":{"kind":"modbus-tcp","address":"h:502"}`
	tests := []struct{ name, in, path string }{
		{"no source", `{"meters":[{"id":"m"}]}`, "source.kind"},
		{"address", `{"source":{"kind":"modbus-tcp","address":"h"},"meters":[{"id":"m","model":"sdm630"}]}`, "source.address"},
		{"port", `{"source":{"kind":"modbus-rtu","port":"ttyS1"},"meters":[{"id":"m","model":"sdm630"}]}`, "source.port"},
		{"parity", `{"source":{"kind":"modbus-rtu","port":"/dev/ttyS1","parity":"X"},"meters":[{"id":"m","model":"sdm630"}]}`, "source.parity"},
		{"no meters", `{` + tcp + `}`, "meters"},
		{"nothing to read", `{` + tcp + `,"meters":[{"id":"m"}]}`, "meters[0]"},
		{"unknown model", `{` + tcp + `,"meters":[{"id":"m","model":"abacus"}]}`, "meters[0].model"},
		{"meter twice", `{` + tcp + `,"meters":[{"id":"m","model":"sdm630"},{"id":"m","model":"sdm630"}]}`, "meters[1].id"},
		{"unit", `{` + tcp + `,"meters":[{"id":"m","unit":300,"model":"sdm630"}]}`, "meters[0].unit"},
		{"item twice", `{` + tcp + `,"meters":[{"id":"m","model":"sdm630"}],"items":[{"name":"V1"},{"name":"V1"}]}`, "meters[0]"},
		{"type", `{` + tcp + `,"meters":[{"id":"m"}],"items":[{"name":"a","type":"int128"}]}`, "items[0].type"},
		{"coil as float", `{` + tcp + `,"meters":[{"id":"m"}],"items":[{"name":"a","function":1,"type":"float32"}]}`, "items[0].type"},
		{"past the end", `{` + tcp + `,"meters":[{"id":"m"}],"items":[{"name":"a","address":65535,"type":"float32"}]}`, "items[0].address"},
		{"write function", `{` + tcp + `,"meters":[{"id":"m"}],"items":[{"name":"a","function":6}]}`, "items[0].function"},
		{"order", `{` + tcp + `,"meters":[{"id":"m"}],"items":[{"name":"a","order":"ACDC"}]}`, "items[0].order"},
		{"period", `{` + tcp + `,"meters":[{"id":"m","model":"sdm630"}],"period":"1ms"}`, "period"},
		{"window", `{` + tcp + `,"meters":[{"id":"m","model":"sdm630"}],"windows":["25:00-26:00"]}`, "windows[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePolicy([]byte(tt.in))
			wantProblem(t, err, tt.path)
		})
	}
}

func TestModels(t *testing.T) {
	for _, name := range ModelNames() {
		m, _ := ModelNamed(name)
		c := &check{kind: KindPolicy}
		for i := range m.Items {
			m.Items[i].validate(c, index("items", i), m.Protocol)
		}
		if err := c.err(); err != nil || len(m.Items) == 0 || m.Title == "" || m.Protocol == "" || m.Version < 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseNode(t *testing.T) {
	n, err := ParseNode([]byte(`{"site":"tq-0317","labels":{"province":"anhui"}}`))
	if err != nil || n.Sync.Interval.D() != time.Minute {
		t.Fatalf("%+v, %v", n, err)
	}
	_, err = ParseNode([]byte(`{"sync":{"interval":"1s"}}`))
	wantProblem(t, err, "node.sync.interval")
	_, err = ParseNode([]byte(`{"labels":{" x":"y"}}`))
	wantProblem(t, err, "node.labels. x")
}

// What was stored when more was allowed can be made smaller in steps, and stopped, but
// no larger.
func TestFits_Before(t *testing.T) {
	large := func(bytes int, more ...shadow.Member) *shadow.Value {
		return shadow.NewObject(append(more, shadow.Member{Key: "z", Value: shadow.Text(strings.Repeat("\n", bytes/2))})...)
	}
	const limit = 64 << 10
	before := large(50_000)
	stopped := shadow.Member{Key: "state", Value: shadow.Text("stopped")}
	disabled := shadow.Member{Key: "enabled", Value: shadow.Flag(false)}
	for name, c := range map[string]struct {
		next *shadow.Value
		fits bool
	}{
		"the same":            {large(50_000), true},
		"smaller":             {large(49_000), true},
		"stopped":             {large(50_000, stopped), true},
		"stopped and smaller": {large(40_000, stopped), true},
		"disabled":            {large(50_000, disabled), true},
		"larger":              {large(50_200), false},
		"small":               {large(100), true},
	} {
		if err := Fits("app:a", before, c.next, limit); (err == nil) != c.fits {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Fits("app:a", large(30_600), large(30_740), limit); err == nil {
		t.Error("what fitted grows until it doesn't")
	}
}

// A policy that its own report, which repeats it, has no room beside is refused.
func TestFits(t *testing.T) {
	value := func(bytes int) *shadow.Value {
		return shadow.NewObject(shadow.Member{Key: "x", Value: shadow.Text(strings.Repeat("a", bytes-len(`{"x":""}`)))})
	}
	const limit = 64 << 10
	most := (limit - statusRoom) / 2
	if err := Fits("collect:a", nil, value(most), limit); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"collect:a", "app:a"} {
		err := Fits(name, value(most), value(most+1), limit)
		if err == nil || !strings.Contains(err.Error(), "value 30721, limit 30720") || !strings.Contains(err.Error(), "--state-limit") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Fits("free", nil, value(most+1), limit); err != nil {
		t.Error(err)
	}
}
