package schema

import (
	"strings"
	"testing"
)

func TestNodeDevices(t *testing.T) {
	for _, c := range []struct{ desired, want string }{
		{`{"devices":{"names":["meter-1","a:b_c"],"prefix":"m-"}}`, ""},
		{`{"devices":{}}`, ""},
		{`{"devices":{"names":["a/b"]}}`, "node.devices.names"},
		{`{"devices":{"names":[""]}}`, "node.devices.names"},
		{`{"devices":{"names":["` + strings.Repeat("x", 129) + `"]}}`, "node.devices.names"},
		{`{"devices":{"prefix":"m"}}`, "node.devices.prefix"},
		{`{"devices":{"prefix":"m+"}}`, "node.devices.prefix"},
		{`{"devices":["m"]}`, "devices"},
		{`{"devices":{"names":[` + strings.Repeat(`"m",`, MaxNodeDevices) + `"m"]}}`, "node.devices.names"},
	} {
		_, err := ParseNode([]byte(c.desired))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s: error %v, want one about %q", c.desired, err, c.want)
		}
	}
	d := &NodeDevices{Names: []string{"pump"}, Prefix: "m-"}
	for name, want := range map[string]bool{"pump": true, "m-1": true, "m-": true, "pump2": false, "m": false, "": false} {
		if d.Has(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if (*NodeDevices)(nil).Has("pump") {
		t.Error("nobody speaks for it")
	}
}
