package schema

import (
	"strings"
	"testing"
)

func TestParsePolicy_DLT645(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"source":{"kind":"dlt645","port":"/dev/ttyS1"},"meters":[{"id":"m1","address":"000000000161","model":"dlt645-3p"}],
		"items":[{"name":"EFrozen","di":"05060101","offset":4,"format":"XXXXXX.XX","unit":"kWh"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := p.Source
	if s.Baud != 2400 || s.Data != 8 || s.Parity != "E" || s.Stop != 1 || *s.Preamble != 4 || s.MaxHole != nil || p.Meters[0].Unit != 0 {
		t.Errorf("%+v, %+v", s, p.Meters[0])
	}
	byName := map[string]Item{}
	for _, it := range p.ItemsOf(p.Meters[0]) {
		byName[it.Name] = it
	}
	for name, want := range map[string]Item{
		"P2":        {Name: "P2", DI: "02030200", Format: "XX.XXXX", Signed: true, Scale: 1, Unit: "kW"},
		"EExportT4": {Name: "EExportT4", DI: "00020400", Format: "XXXXXX.XX", Scale: 1, Unit: "kWh"},
		"EFrozen":   {Name: "EFrozen", DI: "05060101", Offset: 4, Format: "XXXXXX.XX", Scale: 1, Unit: "kWh"},
	} {
		if byName[name] != want {
			t.Errorf("%s is %+v, want %+v", name, byName[name], want)
		}
	}
	if _, err := ParsePolicy([]byte(`{"source":{"kind":"dlt645-tcp","address":"h:26","preamble":0},"meters":[{"id":"m1","address":"000000000161","model":"dlt645-1p"}]}`)); err != nil {
		t.Error(err)
	}
}

func TestParsePolicy_DLT645Refuses(t *testing.T) {
	policy := func(source, meter, item string) string {
		return `{"source":{` + source + `},"meters":[{"id":"m",` + meter + `}],"items":[{"name":"a",` + item + `}]}`
	}
	const line, server = `"kind":"dlt645","port":"/dev/ttyS1"`, `"kind":"dlt645-tcp","address":"h:26"`
	const meter, item = `"address":"000000000161"`, `"di":"02010100","format":"XXX.X"`
	tests := []struct{ name, in, path, text string }{
		{"speed", policy(line+`,"baud":2300`, meter, item), "source.baud", "value 2300"},
		{"preamble", policy(line+`,"preamble":5`, meter, item), "source.preamble", "value 5, limit 4"},
		{"hole", policy(line+`,"maxHole":5`, meter, item), "source.maxHole", "for Modbus"},
		{"address of a line", policy(line+`,"address":"h:26"`, meter, item), "source.address", "use port"},
		{"port of a server", policy(server+`,"port":"/dev/ttyS1"`, meter, item), "source.port", "use address"},
		{"no address", policy(server, `"unit":0`, item), "meters[0].address", "12 digits"},
		{"short address", policy(server, `"address":"161"`, item), "meters[0].address", "value 161"},
		{"wildcard", policy(server, `"address":"AAAAAAAAAAAA"`, item), "meters[0].address", "12 digits"},
		{"broadcast", policy(server, `"address":"999999999999"`, item), "meters[0].address", "broadcast"},
		{"unit", policy(server, meter+`,"unit":1`, item), "meters[0].unit", "use address"},
		{"no identifier", policy(server, meter, `"format":"XXX.X"`), "items[0].di", "8 hex digits"},
		{"identifier", policy(server, meter, `"di":"0201010G","format":"XXX.X"`), "items[0].di", "value 0201010G"},
		{"signed identifier", policy(server, meter, `"di":"+2010100","format":"XXX.X"`), "items[0].di", "value +2010100"},
		{"no format", policy(server, meter, `"di":"02010100"`), "items[0].format", "such as XXX.X"},
		{"odd format", policy(server, meter, `"di":"02010100","format":"XX.X"`), "items[0].format", "value XX.X"},
		{"two points", policy(server, meter, `"di":"02010100","format":"X.X.XX"`), "items[0].format", "at most one point"},
		{"long format", policy(server, meter, `"di":"02010100","format":"XXXXXXXXXXXXXXXXXX"`), "items[0].format", "value 18, limit 16"},
		{"offset", policy(server, meter, item+`,"offset":5000`), "items[0].offset", "value 5000, limit 4096"},
		{"register", policy(server, meter, item+`,"function":3`), "items[0]", "are for Modbus"},
		{"model of another", policy(server, meter+`,"model":"sdm630"`, item), "meters[0].model", "known are dlt645-1p, dlt645-3p"},
		{"identifier for Modbus", policy(`"kind":"modbus-tcp","address":"h:502"`, `"unit":1`, item), "items[0]", "are for DL/T 645"},
		{"address for Modbus", policy(`"kind":"modbus-tcp","address":"h:502"`, meter, `"address":1`), "meters[0].address", "use unit"},
		{"preamble for Modbus", policy(`"kind":"modbus-tcp","address":"h:502","preamble":1`, `"unit":1`, `"address":1`), "source.preamble", "for DL/T 645"},
		{"kind", policy(`"kind":"dlt645-udp"`, meter, item), "source.kind", "dlt645, dlt645-tcp, dlt698, dlt698-tcp, modbus-rtu, modbus-rtu-tcp, modbus-tcp, mqtt, q376, q376-tcp or snmp"},
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
