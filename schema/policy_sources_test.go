package schema

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// parsed is a policy that has to be right.
func parsed(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

func TestParsePolicy_SNMP(t *testing.T) {
	p := parsed(t, `{"source":{"kind":"snmp"},"meters":[{"id":"a","address":"ups-1"},{"id":"b","address":"10.0.0.7:1161"},{"id":"c","address":"fe80::1"},{"id":"d","address":"[::1]:162"}],
		"items":[{"name":"up","oid":"1.3.6.1.2.1.1.3.0","scale":0.01,"none":"-1"},{"name":"on","oid":"1.3.6.1.4.1.1.0","type":"bool"}]}`)
	s := p.Source
	if s.Version != "2c" || s.MaxOIDs != 20 || s.Parallel != 8 || s.Timeout.D() != time.Second || s.Tries != 2 {
		t.Errorf("%+v", s)
	}
	for i, want := range []string{"ups-1:161", "10.0.0.7:1161", "fe80::1:161", "::1:162"} {
		if host, port, ok := SNMPTarget(p.Meters[i].Address); !ok || host+":"+string(mustJSON(t, port)) != want {
			t.Errorf("%s is %s, %d, %v", p.Meters[i].Address, host, port, ok)
		}
	}
	if bus := p.BusTime(p.Source.Kind.Fastest()); bus.Requests != 4 {
		t.Errorf("%+v", bus)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParsePolicy_MQTT(t *testing.T) {
	p := parsed(t, `{"period":"1m","source":{"kind":"mqtt","address":"127.0.0.1:1883"},"meters":[{"id":"a","address":"0x01"},{"id":"b","address":"hall/2"}],
		"items":[{"name":"T","topic":"zigbee2mqtt/{address}","path":"temperature"},{"name":"raw","topic":"raw/{address}/w"}]}`)
	if p.Source.MaxAge.D() != 3*time.Minute {
		t.Errorf("%v", p.Source.MaxAge)
	}
	if got := p.Items[0].TopicOf(p.Meters[1]); got != "zigbee2mqtt/hall/2" {
		t.Error(got)
	}
	if bus := p.BusTime(p.Source.Kind.Fastest()); bus.Requests != 0 || bus.Slot != 0 {
		t.Errorf("%+v", bus)
	}
}

// What belongs to another kind of source is refused, and what is wrong says so.
func TestParsePolicy_SourcesRefuse(t *testing.T) {
	snmp := func(source, meter, item string) string {
		return `{"source":{"kind":"snmp"` + source + `},"meters":[{"id":"m",` + meter + `}],"items":[{"name":"a",` + item + `}]}`
	}
	mqtt := func(source, meter, item string) string {
		return `{"source":{"kind":"mqtt","address":"h:1883"` + source + `},"meters":[{"id":"m"` + meter + `}],"items":[{"name":"a",` + item + `}]}`
	}
	tcp := func(source, meter, item string) string {
		return `{"source":{"kind":"modbus-tcp","address":"h:502"` + source + `},"meters":[{"id":"m"` + meter + `}],"items":[{"name":"a",` + item + `}]}`
	}
	const ups, up = `"address":"ups"`, `"oid":"1.3.6.1.2.1.1.3.0"`
	for _, c := range []struct{ name, in, path, says string }{
		{"source address", snmp(`,"address":"h:161"`, ups, up), "source.address", "each meter"},
		{"version", snmp(`,"version":"4"`, ups, up), "source.version", "1, 2c or 3"},
		{"v3 without credentials", snmp(`,"version":"3"`, ups, up), "source.credentials", "needed for version 3"},
		{"credentials elsewhere", snmp(`,"credentials":"../shadow"`, ups, up), "source.credentials", "name of a file"},
		{"hidden credentials", snmp(`,"credentials":".."`, ups, up), "source.credentials", "not beginning with a point"},
		{"credentials of Modbus", tcp(`,"credentials":"x"`, ``, `"address":1`), "source.credentials", "for snmp and mqtt"},
		{"no address", snmp(``, `"unit":0`, up), "meters[0].address", "host"},
		{"bad port", snmp(``, `"address":"h:99999"`, up), "meters[0].address", "host"},
		{"too many at once", snmp(`,"maxOids":500`, ups, up), "source.maxOids", "limit 128"},
		{"no OID", snmp(``, ups, `"scale":1`), "items[0].oid", "numbers with points"},
		{"OID by name", snmp(``, ups, `"oid":"sysUpTime.0"`), "items[0].oid", "numbers with points"},
		{"OID with a point before", snmp(``, ups, `"oid":".1.3.6"`), "items[0].oid", "numbers with points"},
		{"OID of no tree", snmp(``, ups, `"oid":"1.40.1"`), "items[0].oid", "numbers with points"},
		{"register for SNMP", snmp(``, ups, up+`,"function":3`), "items[0]", "for Modbus"},
		{"pause for SNMP", snmp(`,"pause":"1s"`, ups, up), "source.pause", "nobody shares a line"},
		{"pause for MQTT", mqtt(`,"pause":"1s"`, ``, `"topic":"a"`), "source.pause", "nobody shares a line"},
		{"hole for SNMP", snmp(`,"maxHole":1`, ups, up), "source.maxHole", "for Modbus"},
		{"OID for Modbus", tcp(``, ``, up), "items[0].oid", "for SNMP"},
		{"topic for Modbus", tcp(``, ``, `"topic":"a"`), "items[0]", "for MQTT"},
		{"none that isn't", tcp(``, ``, `"none":"nothing"`), "items[0].none", "a number"},
		{"wildcard", mqtt(``, ``, `"topic":"a/+/b"`), "items[0].topic", "wildcards"},
		{"shared subscription", mqtt(``, ``, `"topic":"$share/g/a"`), "items[0].topic", "wildcards"},
		{"no topic", mqtt(``, ``, `"path":"a"`), "items[0].topic", "wildcards"},
		{"modifier", mqtt(``, ``, `"topic":"a","path":"x|@pretty"`), "items[0].path", "modifiers"},
		{"address needed", mqtt(``, ``, `"topic":"a/{address}"`), "meters[0].address", "is needed"},
		{"others' values", `{"source":{"kind":"mqtt","address":"h:1883"},"meters":[{"id":"m","address":"1"},{"id":"n","address":"2"}],"items":[{"name":"a","topic":"t"}]}`, "meters[0]", "values of others"},
		{"age", mqtt(`,"maxAge":"1ms"`, ``, `"topic":"a"`), "source.maxAge", "from 1s"},
		{"age of Modbus", tcp(`,"maxAge":"1m"`, ``, `"address":1`), "source.maxAge", "for mqtt"},
		{"retained by Modbus", tcp(`,"retained":true`, ``, `"address":1`), "source.retained", "for mqtt"},
		{"no such function", tcp(`,"functions":[3,23]`, ``, `"address":1`), "desired", "none of 1, 2, 3, 4, 5, 6 and 16"},
		{"function not allowed", tcp(`,"functions":[4]`, ``, `"address":1`), "meters[0]", "source.functions doesn't name"},
		{"range", tcp(``, `,"forbidden":["3:9-1"]`, `"address":1`), "desired", "is no range"},
		{"forbidden item", tcp(``, `,"forbidden":["3:2"]`, `"address":1,"type":"uint32"`), "meters[0]", "in a forbidden register"},
		{"forbidden factor", tcp(``, `,"forbidden":["3:9"]`, `"address":1,"scaleFrom":[{"address":9}]`), "meters[0]", "scaleFrom 9 at 9 in a forbidden register"},
		{"three factors", tcp(``, ``, `"address":1,"scaleFrom":[{"address":9},{"address":8},{"address":7}]`), "desired", "2 at most"},
		{"a factor's type", tcp(``, ``, `"address":1,"scaleFrom":[{"address":9,"type":"bool"}]`), "items[0].scaleFrom[0].type", "must be uint16"},
		{"misspelt factor", tcp(``, ``, `"address":1,"scaleFrom":[{"where":9}]`), "desired", "where"},
		{"forbidden for SNMP", snmp(``, ups+`,"forbidden":["3:1"]`, up), "meters[0].forbidden", "for Modbus"},
		{"a model's other version", tcp(``, `,"model":"sdm630@9"`, `"address":1`), "meters[0].model", "known are"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParsePolicy([]byte(c.in))
			wantProblem(t, err, c.path)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
		})
	}
}

// Nothing may be written unless the policy says what, how far and how often.
func TestParsePolicy_Writes(t *testing.T) {
	with := func(functions, writes string) string {
		return `{"source":{"kind":"modbus-tcp","address":"h:502"` + functions + `},"meters":[{"id":"m"}],"items":[
			{"name":"limit","address":10,"scale":0.1},{"name":"wide","address":20,"type":"int32"},{"name":"relay","function":1,"address":3},
			{"name":"V","function":4,"address":1},{"name":"scaled","address":30,"scaleFrom":[{"address":31}]}],"writes":[` + writes + `]}`
	}
	const all = `,"functions":[1,3,4,5,6,16]`
	p := parsed(t, with(all, `{"item":"limit","min":0,"max":100},{"item":"wide","min":-5,"max":5,"times":3,"per":"1h"},{"item":"relay"}`))
	for i, want := range []int{6, 16, 5} {
		if got := p.Writes[i].FunctionFor(p.Items[i]); got != want {
			t.Errorf("%s is written with function %d, want %d", p.Items[i].Name, got, want)
		}
	}
	if w := p.WritableBy("limit"); w == nil || w.Times != 1 || w.Per.D() != time.Minute || p.WritableBy("V") != nil {
		t.Errorf("%+v", w)
	}
	for _, c := range []struct{ name, functions, write, path, says string }{
		{"function not allowed", ``, `{"item":"limit","min":0,"max":1}`, "writes[0]", "needs function 6, which source.functions doesn't name"},
		{"no limits", all, `{"item":"limit","max":1}`, "writes[0]", "needs min and max"},
		{"upside down", all, `{"item":"limit","min":2,"max":1}`, "writes[0].min", "at most max"},
		{"limits of a bit", all, `{"item":"relay","min":0,"max":1}`, "writes[0]", "true or false"},
		{"input register", all, `{"item":"V","min":0,"max":1}`, "writes[0].item", "only coils"},
		{"unknown", all, `{"item":"x","min":0,"max":1}`, "writes[0].item", "no item of any meter"},
		{"twice", all, `{"item":"relay"},{"item":"relay"}`, "writes[1].item", "given twice"},
		{"one function for two registers", all, `{"item":"wide","min":0,"max":1,"function":6}`, "writes[0].function", "16 for more"},
		{"scaled by a register", all, `{"item":"scaled","min":0,"max":1}`, "writes[0].item", "for reading"},
		{"how often", all, `{"item":"relay","times":5000}`, "writes[0].times", "limit 1000"},
		{"how fast", all, `{"item":"relay","per":"1ms"}`, "writes[0].per", "from 1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParsePolicy([]byte(with(c.functions, c.write)))
			wantProblem(t, err, c.path)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
		})
	}
	_, err := ParsePolicy([]byte(`{"source":{"kind":"snmp"},"meters":[{"id":"m","address":"h"}],"items":[{"name":"a","oid":"1.3"}],"writes":[{"item":"a"}]}`))
	wantProblem(t, err, "writes")
}

// An item of the policy takes the place of the model's of that name; the others stay.
func TestItemsOf_Override(t *testing.T) {
	p := parsed(t, `{"source":{"kind":"modbus-tcp","address":"h:502"},"meters":[{"id":"m","model":"sdm630@1"}],
		"items":[{"name":"V2","function":4,"address":2,"type":"float32","scale":0.001,"unit":"kV"},{"name":"more","address":99}]}`)
	model, _ := ModelNamed("sdm630")
	items := p.ItemsOf(p.Meters[0])
	if len(items) != len(model.Items)+1 || items[1].Unit != "kV" || items[0] != model.Items[0] || items[len(items)-1].Name != "more" {
		t.Errorf("%+v", items)
	}
	if model.Items[1].Unit != "V" {
		t.Error("the model itself was changed")
	}
}

// What is kept in one comparable value comes out as it went in.
func TestPolicy_ListsRoundTrip(t *testing.T) {
	for _, c := range []struct {
		into any
		text string
	}{
		{new(Functions), `[3,4,16]`},
		{new(Ranges), `["3:100-119","4:7"]`},
		{new(Ranges), `[]`},
		{new(Factors), `[{"address":75,"type":"int16","power":true}]`},
		{new(Factors), `[]`},
	} {
		if err := json.Unmarshal([]byte(c.text), c.into); err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if got := string(mustJSON(t, c.into)); got != c.text {
			t.Errorf("%s became %s", c.text, got)
		}
	}
	var r Ranges = "3:100-119,4:7"
	for _, c := range []struct {
		function, first, end int
		want                 bool
	}{{3, 90, 100, false}, {3, 90, 101, true}, {3, 119, 120, true}, {3, 120, 130, false}, {4, 0, 100, true}, {4, 100, 101, false}, {3, 7, 8, false}} {
		if got := r.Touch(c.function, c.first, c.end); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
