package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func refused(err error) bool {
	var invalid *shadow.InvalidError
	var limit *shadow.LimitError
	return errors.As(err, &invalid) || errors.As(err, &limit)
}

func TestParseSyncRequest(t *testing.T) {
	body := `{"bootEpoch":4,"shadows":{"":{"desired":3,"reported":"00ff00ff00ff00ff"},"app:web":{"desired":0}},"clientToken":"s1","later":[1]}`
	got, err := wire.ParseSyncRequest([]byte(body))
	want := &wire.SyncRequest{BootEpoch: 4, ClientToken: "s1", Shadows: map[string]wire.SyncState{
		"": {Desired: 3, Reported: "00ff00ff00ff00ff"}, "app:web": {}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if again, err := wire.ParseSyncRequest(want.Append(nil)); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("its own text: %+v, %v", again, err)
	}
	var many strings.Builder
	for i := range wire.MaxSynced + 1 {
		fmt.Fprintf(&many, `,"a%d":{"desired":1}`, i)
	}
	for _, body := range []string{
		``, `null`, `[]`, `{`, `{}`, `{"bootEpoch":0,"shadows":{}}`, `{"bootEpoch":-1}`, `{"bootEpoch":1.5}`, `{"bootEpoch":"1"}`,
		`{"bootEpoch":1}}`, `{"bootEpoch":1}]`, `{"bootEpoch":1} {}`, `{"bootEpoch":1,"shadows":[]}`,
		`{"bootEpoch":1,"shadows":{"a b":{}}}`, `{"bootEpoch":1,"shadows":{"a/b":{}}}`, `{"bootEpoch":1,"shadows":{"a":{"desired":-1}}}`,
		`{"bootEpoch":1,"clientToken":"` + strings.Repeat("x", 65) + `"}`,
		`{"bootEpoch":1,"shadows":{"a":{"reported":"` + strings.Repeat("f", 17) + `"}}}`,
		`{"bootEpoch":1,"shadows":{` + many.String()[1:] + `}}`,
		`{"bootEpoch":1,"x":"` + strings.Repeat("x", 2*wire.MaxSyncBytes) + `"}`,
	} {
		if got, err := wire.ParseSyncRequest([]byte(body)); got != nil || !refused(err) {
			t.Errorf("ParseSyncRequest(%.60s) = %+v, %v", body, got, err)
		}
	}
}

func TestParseSyncReply(t *testing.T) {
	want := &wire.SyncReply{BootEpoch: 4, Timestamp: 9, More: true, ClientToken: "s", Shadows: map[string]wire.SyncShadow{
		"": {Version: 3, DesiredVersion: 2, Desired: json.RawMessage(`{"a":1}`)}, "app:x": {Version: 5, Deleted: true}}}
	if got, err := wire.ParseSyncReply(want.Append(nil)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("its own text: %+v, %v", got, err)
	}
	got, err := wire.ParseSyncReply([]byte(`{"shadows":{"a":{"version":1,"desired":null}}}`))
	if err != nil || got.Shadows["a"].Desired != nil {
		t.Errorf("null is absent: %+v, %v", got, err)
	}
	for _, body := range []string{``, `null`, `{}}`, `{"shadows":{"a":{"desired":[1]}}}`, `{"shadows":{"a":{"desired":"x"}}}`, `{"shadows":{"a b":{}}}`, `{"timestamp":"1"}`} {
		if got, err := wire.ParseSyncReply([]byte(body)); got != nil || !refused(err) {
			t.Errorf("ParseSyncReply(%s) = %+v, %v", body, got, err)
		}
	}
}

func TestParseDesiredPush(t *testing.T) {
	for _, want := range []wire.DesiredPush{
		{Version: 9, Base: 7, DesiredVersion: 9, Patch: json.RawMessage(`{"a":null}`), Timestamp: 6, Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{Version: 9, DesiredVersion: 9, Patch: json.RawMessage(`{"a":1}`), Timestamp: 6},
		{Version: 9, DesiredVersion: 8},
		{Version: 9, Deleted: true},
		{Version: 1 << 60, DesiredVersion: 1 << 60, Deleted: true, Timestamp: -1},
	} {
		text := want.Append(nil)
		if got, err := wire.ParseDesiredPush(text); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s became %+v, %v", text, got, err)
		}
		byReflection, err := json.Marshal(want)
		if err != nil || string(byReflection) != string(text) {
			t.Errorf("%s, though its tags say %s, %v", text, byReflection, err)
		}
	}
	for _, body := range []string{
		``, `null`, `{}`, `{"version":0,"desiredVersion":0}`, `{"version":2,"desiredVersion":2,"patch":{}}x`,
		`{"version":2}`, `{"version":2,"desiredVersion":3}`, // leads past the document
		`{"version":2,"base":2,"desiredVersion":2,"patch":{}}`, // leads nowhere
		`{"version":2,"base":1,"desiredVersion":2}`,            // merged, it would wipe what is held
		`{"version":2,"base":1,"desiredVersion":2,"patch":null}`,
		`{"version":2,"base":1,"desiredVersion":2,"patch":[]}`,
		`{"version":2,"base":0,"desiredVersion":2,"patch":"x"}`,
	} {
		if got, err := wire.ParseDesiredPush([]byte(body)); got != nil || !refused(err) {
			t.Errorf("ParseDesiredPush(%s) = %+v, %v", body, got, err)
		}
	}
}

func TestAppendReport_IsAnUpdate(t *testing.T) {
	v, err := shadow.Parse([]byte(`{"a":{"b":null},"c":[1]}`), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	origin := shadow.Origin{BootEpoch: 2, Seq: 3}
	u := update(t, string(wire.AppendReport(nil, v, origin, false, "tok")))
	if u.Origin != origin || u.ClientToken != "tok" || u.Desired.Present || u.Reported.Replace || !shadow.Equal(u.Reported.Patch, v) {
		t.Errorf("%+v", u)
	}
	if u := update(t, string(wire.AppendReport(nil, v, origin, true, ""))); !u.Reported.Replace {
		t.Errorf("full: %+v", u)
	}
	if u := update(t, string(wire.AppendReport(nil, nil, origin, true, ""))); !u.Reported.Present || u.Reported.Patch != nil {
		t.Errorf("nothing to report: %+v", u)
	}
}

// FuzzParseSync feeds the decoders of our own messages; what one takes must
// come back the same from its own text.
func FuzzParseSync(f *testing.F) {
	for _, seed := range []string{
		`{"bootEpoch":4,"shadows":{"":{"desired":3,"reported":"00ff"},"app:web":{"desired":0}},"clientToken":"s1"}`,
		`{"bootEpoch":1,"timestamp":2,"shadows":{"a":{"version":1,"desired":{"x":[1]},"reportFull":true}},"more":true}`,
		`{"version":9,"base":7,"desiredVersion":9,"patch":{"a":null},"timestamp":6,"traceparent":"t"}`,
		`{"version":9,"base":7,"desiredVersion":9,"patch":{"a":null},"timestamp":6,"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`,
		`{"version":9,"deleted":true}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := wire.ParseSyncRequest(body); err == nil {
			if again, err := wire.ParseSyncRequest(r.Append(nil)); err != nil || again.BootEpoch != r.BootEpoch || len(again.Shadows) != len(r.Shadows) {
				t.Fatalf("request %q: %v", body, err)
			}
		} else if !refused(err) {
			t.Fatal(err)
		}
		if r, err := wire.ParseSyncReply(body); err == nil {
			text := r.Append(nil)
			if again, err := wire.ParseSyncReply(text); err != nil || string(again.Append(nil)) != string(text) {
				t.Fatalf("reply %q: %v", body, err)
			}
		} else if !refused(err) {
			t.Fatal(err)
		}
		if p, err := wire.ParseDesiredPush(body); err == nil {
			text := p.Append(nil)
			if again, err := wire.ParseDesiredPush(text); err != nil || !json.Valid(text) || string(again.Append(nil)) != string(text) {
				t.Fatalf("push %q: %v", body, err)
			}
		} else if !refused(err) {
			t.Fatal(err)
		}
	})
}
