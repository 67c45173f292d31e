package wire_test

import (
	"strings"
	"testing"

	"gnomon/shadow/wire"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, good := range []string{parent, strings.Replace(parent, "-01", "-00", 1), "cc" + parent[2:], "cc" + parent[2:] + "-what-ever"} {
		if got, ok := wire.TraceID(good); !ok || got != id {
			t.Errorf("TraceID(%q) = %q, %v", good, got, ok)
		}
	}
	for _, bad := range []string{
		"", "00", parent[:54], parent + "0", parent + "-x", "ff" + parent[2:], "0x" + parent[2:], "cc" + parent[2:] + "x",
		"cc" + parent[2:] + "-" + strings.Repeat("x", 100),
		strings.ToUpper(parent), strings.Replace(parent, id, strings.Repeat("0", 32), 1),
		strings.Replace(parent, "00f067aa0ba902b7", strings.Repeat("0", 16), 1),
		strings.Replace(parent, "f0", "g0", 1), strings.Replace(parent, "-00f", "_00f", 1), parent[:53] + "zz",
	} {
		if id, ok := wire.TraceID(bad); ok {
			t.Errorf("TraceID(%q) = %q", bad, id)
		}
	}
	if !wire.ValidTrace(id) || wire.ValidTrace(id[1:]) || wire.ValidTrace(strings.Repeat("0", 32)) {
		t.Error("ValidTrace")
	}
}

// What isn't a trace is no reason to refuse what is desired; what is one comes
// through, and a reader that knows nothing of traces reads the rest.
func TestTraceInMessages(t *testing.T) {
	for text, want := range map[string]string{"t": "", parent: parent, parent + "!": ""} {
		push, err := wire.ParseDesiredPush([]byte(`{"version":1,"desiredVersion":1,"patch":{},"traceparent":"` + text + `"}`))
		if err != nil || push.Trace != want {
			t.Errorf("push with %q: %+v, %v", text, push, err)
		}
		reply, err := wire.ParseSyncReply([]byte(`{"shadows":{"a":{"version":1,"traceparent":"` + text + `"}}}`))
		if err != nil || reply.Shadows["a"].Trace != want {
			t.Errorf("sync with %q: %+v, %v", text, reply, err)
		}
	}
	push := wire.DesiredPush{Version: 7, Base: 3, DesiredVersion: 7, Patch: []byte(`{"a":null}`), Timestamp: 9, Trace: parent}
	const golden = `{"version":7,"base":3,"desiredVersion":7,"patch":{"a":null},"timestamp":9,"traceparent":"` + parent + `"}`
	if got := string(push.Append(nil)); got != golden {
		t.Errorf("push is %s", got)
	}
	push.Trace = ""
	if got := string(push.Append(nil)); got != strings.Replace(golden, `,"traceparent":"`+parent+`"`, "", 1) {
		t.Errorf("a push without a trace is %s, not what it was before there were any", got)
	}
	reply := wire.SyncReply{BootEpoch: 1, Timestamp: 2, Shadows: map[string]wire.SyncShadow{"app:x": {Version: 3, DesiredVersion: 3, Trace: parent}}}
	if got := string(reply.Append(nil)); got != `{"bootEpoch":1,"timestamp":2,"shadows":{"app:x":{"version":3,"desiredVersion":3,"traceparent":"`+parent+`"}}}` {
		t.Errorf("sync reply is %s", got)
	}
}

func FuzzTraceID(f *testing.F) {
	f.Add(parent)
	f.Add("cc" + parent[2:] + "-x")
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := wire.TraceID(text); ok && (!wire.ValidTrace(id) || !strings.Contains(text, id)) {
			t.Fatalf("TraceID(%q) = %q", text, id)
		}
	})
}
