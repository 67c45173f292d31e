package schema

import (
	"strings"
	"testing"
)

func TestParsePolicy_DLT698(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"source":{"kind":"dlt698","port":"/dev/ttyS1"},"meters":[{"id":"m1","address":"000000000010","model":"dlt698-3p"}],
		"items":[{"name":"VRaw","oad":"20000201","scaler":"20000300"},{"name":"EYesterday","oad":"00100201","record":"50040200","nth":2,"scale":0.01}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := p.Source
	if s.Baud != 9600 || s.Data != 8 || s.Parity != "E" || s.Stop != 1 || *s.Preamble != 4 || s.MaxFrame != 512 || s.MaxHole != nil || p.Meters[0].Unit != 0 {
		t.Errorf("%+v, %+v", s, p.Meters[0])
	}
	byName := map[string]Item{}
	for _, it := range p.ItemsOf(p.Meters[0]) {
		byName[it.Name] = it
	}
	for name, want := range map[string]Item{
		"P2":         {Name: "P2", OAD: "20040203", Scale: 0.0001, Unit: "kW"},
		"EImportT4":  {Name: "EImportT4", OAD: "00100205", Scale: 0.01, Unit: "kWh"},
		"EReactive1": {Name: "EReactive1", OAD: "00300201", Scale: 0.01, Unit: "kvarh"},
		"EExportDay": {Name: "EExportDay", OAD: "00200201", Record: "50040200", Nth: 1, Scale: 0.01, Unit: "kWh"},
		"DayTime":    {Name: "DayTime", OAD: "20210200", Record: "50040200", Nth: 1, Scale: 1},
		"VRaw":       {Name: "VRaw", OAD: "20000201", Scaler: "20000300", Scale: 1},
		"EYesterday": {Name: "EYesterday", OAD: "00100201", Record: "50040200", Nth: 2, Scale: 0.01},
	} {
		if byName[name] != want {
			t.Errorf("%s is %+v, want %+v", name, byName[name], want)
		}
	}
	if _, err := ParsePolicy([]byte(`{"source":{"kind":"dlt698-tcp","address":"h:26","preamble":0,"maxFrame":2048},"meters":[{"id":"m1","address":"AAAAAAAAAAAA","model":"dlt698-1p"}]}`)); err != nil {
		t.Error(err)
	}
}

func TestParsePolicy_DLT698Refuses(t *testing.T) {
	policy := func(source, meter, item string) string {
		return `{"source":{` + source + `},"meters":[{"id":"m",` + meter + `}],"items":[{"name":"a",` + item + `}]}`
	}
	const line, server = `"kind":"dlt698","port":"/dev/ttyS1"`, `"kind":"dlt698-tcp","address":"h:26"`
	const meter, item = `"address":"000000000010"`, `"oad":"20000201"`
	tests := []struct{ name, in, path, text string }{
		{"preamble", policy(line+`,"preamble":5`, meter, item), "source.preamble", "value 5, limit 4"},
		{"frame", policy(line+`,"maxFrame":100`, meter, item), "source.maxFrame", "from 128 to 2048"},
		{"hole", policy(line+`,"maxHole":5`, meter, item), "source.maxHole", "for Modbus"},
		{"parity", policy(line+`,"parity":"X"`, meter, item), "source.parity", "N, E or O"},
		{"port of a server", policy(server+`,"port":"/dev/ttyS1"`, meter, item), "source.port", "use address"},
		{"no address", policy(server, `"unit":0`, item), "meters[0].address", "digits of the meter"},
		{"odd address", policy(server, `"address":"161"`, item), "meters[0].address", "value 161"},
		{"long address", policy(server, `"address":"0000000000000000000000000000000000"`, item), "meters[0].address", "2 to 32"},
		{"hexadecimal address", policy(server, `"address":"00000000000B"`, item), "meters[0].address", "digits of the meter"},
		{"any of several", `{"source":{` + server + `},"meters":[{"id":"a","address":"AAAAAAAAAAAA"},{"id":"b",` + meter + `}],"items":[{"name":"a",` + item + `}]}`, "meters[0].address", "one meter alone"},
		{"unit", policy(server, meter+`,"unit":1`, item), "meters[0].unit", "use address"},
		{"no attribute", policy(server, meter, `"scale":1`), "items[0].oad", "8 hex digits"},
		{"attribute", policy(server, meter, `"oad":"2000020G"`), "items[0].oad", "value 2000020G"},
		{"signed attribute", policy(server, meter, `"oad":"+2000020"`), "items[0].oad", "value +2000020"},
		{"record", policy(server, meter, item+`,"record":"5004"`), "items[0].record", "such as 50040200"},
		{"nth of no record", policy(server, meter, item+`,"nth":2`), "items[0].nth", "items of a record"},
		{"nth", policy(server, meter, item+`,"record":"50040200","nth":256`), "items[0].nth", "value 256, limit 255"},
		{"scaler", policy(server, meter, item+`,"scaler":"x"`), "items[0].scaler", "such as 20000300"},
		{"register", policy(server, meter, item+`,"function":3`), "items[0]", "are for Modbus"},
		{"identifier", policy(server, meter, item+`,"di":"02010100"`), "items[0]", "are for DL/T 645"},
		{"model of another", policy(server, meter+`,"model":"dlt645-1p"`, item), "meters[0].model", "known are dlt698-1p, dlt698-3p"},
		{"attribute for Modbus", policy(`"kind":"modbus-tcp","address":"h:502"`, `"unit":1`, item), "items[0]", "for DL/T 698.45"},
		{"attribute for DL/T 645", policy(`"kind":"dlt645-tcp","address":"h:502"`, meter, `"di":"02010100","format":"XXX.X",`+item), "items[0]", "for DL/T 698.45"},
		{"frame for Modbus", policy(`"kind":"modbus-tcp","address":"h:502","maxFrame":512`, `"unit":1`, `"address":1`), "source.maxFrame", "for DL/T 698.45"},
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
