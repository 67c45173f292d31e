package schema

import (
	"strings"
	"testing"
)

func TestNodeAgent(t *testing.T) {
	for _, c := range []struct{ desired, want string }{
		{`{"agent":{"version":"1.4.0"}}`, ""},
		{`{"agent":{"version":"88a23ba-dirty","component":"tools/gnomon-edge@2","digest":"sha256:` + strings.Repeat("0", 64) + `","downgrade":true}}`, ""},
		{`{"agent":{"version":"2","component":"file:///opt/agent.tar#v2"}}`, ""},
		{`{"agent":{}}`, "node.agent.version"},
		{`{"agent":{"version":"../../etc"}}`, "node.agent.version"},
		{`{"agent":{"version":"` + strings.Repeat("1", 65) + `"}}`, "node.agent.version"},
		{`{"agent":{"version":"1","component":"http://x/y"}}`, "node.agent.component"},
		{`{"agent":{"version":"1","digest":"sha256:12"}}`, "node.agent.digest"},
		{`{"agent":"1.4.0"}`, "agent"},
		{`{"agent":{"version":"1","force":true}}`, "force"},
	} {
		n, err := ParseNode([]byte(c.desired))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.desired, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want one about %s", c.desired, err, c.want)
		case c.want == "" && n.Agent.Component == "":
			t.Errorf("%s: no component", c.desired)
		}
	}
	if n, err := ParseNode([]byte(`{"site":"s"}`)); err != nil || n.Agent != nil {
		t.Errorf("no agent: %+v, %v", n.Agent, err)
	}
}
