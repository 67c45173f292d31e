package schema

import (
	"strings"
	"testing"
	"time"
)

func TestParsePolicy_Q376(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"source":{"kind":"q376","port":"/dev/ttyS1"},
		"meters":[{"id":"m1","address":"000000000161","model":"dlt645-1p"},{"id":"m2","address":"000000000162","model":"dlt698-3p"},
			{"id":"m3","address":"000000000163","protocol":"dlt698"},{"id":"m4","address":"000000000164"}],
		"items":[{"name":"EFrozen","di":"05060101","offset":4,"format":"XXXXXX.XX"},{"name":"Hour","oad":"00100201","record":"50030200"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := p.Source
	if s.Baud != 9600 || s.Parity != "E" || s.Timeout.D() != 90*time.Second || s.Parallel != 5 || s.FramesPerRead != 13 || s.Archive != ArchiveSync || s.MaxFrame != 512 || s.Tries != 2 {
		t.Errorf("%+v", s)
	}
	for i, want := range []struct {
		protocol Protocol
		items    int
		last     string
	}{{DLT645, 14, "EFrozen"}, {DLT698, 38, "Hour"}, {DLT698, 1, "Hour"}, {DLT645, 1, "EFrozen"}} {
		m := p.Meters[i]
		items := p.ItemsOf(m)
		if m.Protocol != want.protocol || len(items) != want.items || items[len(items)-1].Name != want.last {
			t.Errorf("%s: %s, %d items to %s, want %+v", m.ID, m.Protocol, len(items), items[len(items)-1].Name, want)
		}
	}
	if p.Items[1].Nth != 1 {
		t.Errorf("record %d, want the latest", p.Items[1].Nth)
	}
	if _, err := ParsePolicy([]byte(`{"source":{"kind":"q376-tcp","address":"h:26","parallel":20,"archive":"add","timeout":"60s"},"meters":[{"id":"m1","address":"000000000161","model":"dlt645-1p"}]}`)); err != nil {
		t.Error(err)
	}
}

func TestParsePolicy_Q376Refuses(t *testing.T) {
	policy := func(source, meter, item string) string {
		return `{"source":{` + source + `},"meters":[{"id":"m",` + meter + `}],"items":[{"name":"a",` + item + `}]}`
	}
	const cco, meter, item = `"kind":"q376-tcp","address":"h:26"`, `"address":"000000000161"`, `"di":"02010100","format":"XXX.X"`
	tests := []struct{ name, in, path, text string }{
		{"parallel", policy(cco+`,"parallel":65`, meter, item), "source.parallel", "value 65, limit 64"},
		{"frames", policy(cco+`,"framesPerRead":33`, meter, item), "source.framesPerRead", "value 33, limit 32"},
		{"archive", policy(cco+`,"archive":"wipe"`, meter, item), "source.archive", "sync or add"},
		{"timeout", policy(cco+`,"timeout":"6m"`, meter, item), "source.timeout", "limit 5m"},
		{"pause", policy(cco+`,"pause":"1s"`, meter, item), "source.pause", "paces"},
		{"preamble", policy(cco+`,"preamble":4`, meter, item), "source.preamble", "nodes add it"},
		{"hole", policy(cco+`,"maxHole":4`, meter, item), "source.maxHole", "for Modbus"},
		{"port", policy(cco+`,"port":"/dev/x"`, meter, item), "source.port", "use address"},
		{"meter's protocol", policy(cco, meter+`,"protocol":"modbus"`, item), "meters[0].protocol", "dlt645 or dlt698"},
		{"short address", policy(cco, `"address":"0161"`, item), "meters[0].address", "12 digits"},
		{"one address twice", policy(cco, meter+`},{"id":"n",`+meter, item), "meters[1].address", "is that of m, too"},
		{"unit", policy(cco, meter+`,"unit":3`, item), "meters[0].unit", "use address"},
		{"model of the other", policy(cco, meter+`,"protocol":"dlt698","model":"dlt645-1p"`, item), "meters[0].model", "dlt698-1p, dlt698-3p"},
		{"model for Modbus", policy(cco, meter+`,"model":"sdm630"`, item), "meters[0].protocol", "dlt645 or dlt698"},
		{"item of the other", policy(cco, meter+`,"protocol":"dlt698"`, item), "meters[0]", "nothing to read"},
		{"register", policy(cco, meter, item+`,"function":3`), "items[0]", "are for Modbus"},
		{"parallel for another", policy(`"kind":"dlt645-tcp","address":"h:26","parallel":5`, meter, item), "source.parallel", "is for q376"},
		{"frames for another", policy(`"kind":"dlt645-tcp","address":"h:26","framesPerRead":5`, meter, item), "source.framesPerRead", "is for q376"},
		{"archive for another", policy(`"kind":"modbus-tcp","address":"h:26","archive":"add"`, `"unit":1`, `"address":1`), "source.archive", "is for q376"},
		{"protocol for another", policy(`"kind":"dlt645-tcp","address":"h:26"`, meter+`,"protocol":"dlt645"`, item), "meters[0].protocol", "is for q376"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePolicy([]byte(tt.in))
			wantProblem(t, err, tt.path)
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v does not say %q", err, tt.text)
			}
		})
	}
}
