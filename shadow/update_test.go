package shadow_test

import (
	"errors"
	"strings"
	"testing"

	"gnomon/shadow"
)

func TestParseUpdate_Refuses(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, c := range []struct{ body, message string }{
		{``, "Invalid JSON"},
		{`{"state":{}`, "Invalid JSON"},
		{`[]`, "Invalid JSON"},
		{`"state"`, "Invalid JSON"},
		{`null`, "Invalid JSON"},
		{`{}`, "Missing required node: state"},
		{`{"desired":{"a":1}}`, "Missing required node: state"},
		{`{"State":{}}`, "Missing required node: state"},
		{`{"state":[]}`, "State node must be an object"},
		{`{"state":"x"}`, "State node must be an object"},
		{`{"state":1}`, "State node must be an object"},
		{`{"state":{"desired":[]}}`, "Desired node must be an object"},
		{`{"state":{"desired":true}}`, "Desired node must be an object"},
		{`{"state":{"reported":"on"}}`, "Reported node must be an object"},
		{`{"state":{"reported":0}}`, "Reported node must be an object"},
		{`{"state":{"desired":{},"delta":{}}}`, "State contains an invalid node"},
		{`{"state":{"Desired":{}}}`, "State contains an invalid node"},
		{`{"state":{"` + strings.Repeat("k", 9000) + `":{}}}`, "State contains an invalid node"},
		{`{"state":{"desired":{"a":[1,null]}}}`, "State contains an invalid node"},
		{`{"state":{"reported":{"a":{"b":[[{"c":[{"d":null}]}]]}}}}`, "State contains an invalid node"},
		{`{"state":{},"version":"1"}`, "Invalid version"},
		{`{"state":{},"version":1.0}`, "Invalid version"},
		{`{"state":{},"version":-1}`, "Invalid version"},
		{`{"state":{},"version":18446744073709551616}`, "Invalid version"},
		{`{"state":{},"version":{}}`, "Invalid version"},
		{`{"state":{},"clientToken":1}`, "Invalid clientToken"},
		{`{"state":{},"clientToken":"` + long + `"}`, "Invalid clientToken"},
		{`{"state":{},"origin":5}`, "Invalid origin"},
		{`{"state":{},"origin":{}}`, "Invalid origin"},
		{`{"state":{},"origin":{"bootEpoch":1}}`, "Invalid origin"},
		{`{"state":{},"origin":{"bootEpoch":0,"seq":1}}`, "Invalid origin"},
		{`{"state":{},"origin":{"bootEpoch":"1","seq":1}}`, "Invalid origin"},
		{`{"state":{},"origin":{"bootEpoch":1,"seq":-1}}`, "Invalid origin"},
	} {
		u, err := shadow.ParseUpdate([]byte(c.body), wide)
		var invalid *shadow.InvalidError
		if u != nil || !errors.As(err, &invalid) || invalid.Message != c.message {
			t.Errorf("ParseUpdate(%.60s) = %v, want %s", c.body, err, c.message)
		} else if len(err.Error()) > 200 {
			t.Errorf("ParseUpdate(%.60s): a message of %d bytes", c.body, len(err.Error()))
		}
	}
}

func TestParseUpdate_Accepts(t *testing.T) {
	u := update(t, `{"state":{"desired":{"a":null},"reported":null},"version":7,"clientToken":"t",
		"origin":{"bootEpoch":3,"seq":0},"metadata":[null],"other":{"state":1}}`)
	if !u.Desired.Present || text(u.Desired.Patch) != `{"a":null}` || u.Desired.Replace {
		t.Errorf("desired %+v", u.Desired)
	}
	if !u.Reported.Present || u.Reported.Patch != nil || u.Reported.Replace || u.StateNull {
		t.Errorf("reported %+v", u.Reported)
	}
	if u.Version == nil || *u.Version != 7 || u.ClientToken != "t" || u.Origin != (shadow.Origin{BootEpoch: 3}) {
		t.Errorf("envelope %+v", u)
	}
	if u := update(t, `{"state":null,"version":null,"clientToken":null,"origin":null}`); !u.StateNull || u.Version != nil || u.Origin.Ordered() {
		t.Errorf("state null: %+v", u)
	}
	if u := update(t, `{"state":{},"clientToken":"`+strings.Repeat("é", 32)+`"}`); len(u.ClientToken) != 64 {
		t.Errorf("a token of 64 bytes: %+v", u)
	}
	if u := update(t, `{"\u0073tate":{"desired":{"x":1},"desired":{"y":2}}}`); text(u.Desired.Patch) != `{"y":2}` {
		t.Errorf("of doubles the last wins: %+v", u)
	}
	full := `{"state":{"reported":{"a":1}},"origin":{"bootEpoch":3,"seq":9,"full":%}}`
	for word, want := range map[string]bool{"true": true, "false": false, `"true"`: false, "1": false} {
		if u := update(t, strings.ReplaceAll(full, "%", word)); u.Reported.Replace != want {
			t.Errorf("full %s: %+v", word, u.Reported)
		}
	}
}

func TestParseUpdate_Limits(t *testing.T) {
	section := func(levels int) []byte {
		return []byte(`{"state":{"desired":` + strings.Repeat(`{"a":`, levels) + `1` + strings.Repeat(`}`, levels) + `}}`)
	}
	lim := shadow.Limits{Depth: 6}
	if _, err := shadow.ParseUpdate(section(6), lim); err != nil {
		t.Errorf("six levels, desired being the first: %v", err)
	}
	_, err := shadow.ParseUpdate(section(7), lim)
	var limit *shadow.LimitError
	if !errors.As(err, &limit) || *limit != (shadow.LimitError{Field: "depth", Limit: 6, Got: 7}) {
		t.Errorf("seven levels: %v", err)
	}
	_, err = shadow.ParseUpdate(make([]byte, 101), shadow.Limits{BodyBytes: 100})
	if !errors.As(err, &limit) || *limit != (shadow.LimitError{Field: "body", Limit: 100, Got: 101}) {
		t.Errorf("a body over the limit: %v", err)
	}
}

func TestParseRequest(t *testing.T) {
	for _, c := range []struct {
		body, token string
		version     int
		message     string
	}{
		{``, "", -1, ""},
		{`{}`, "", -1, ""},
		{`{"clientToken":"x"}`, "x", -1, ""},
		{`{"version":4,"clientToken":"x","state":[null]}`, "x", 4, ""},
		{`{"origin":"phone"}`, "", -1, ""},
		{`{"version":"4"}`, "", -1, "Invalid version"},
		{`[]`, "", -1, "Invalid JSON"},
		{` `, "", -1, "Invalid JSON"},
	} {
		r, err := shadow.ParseRequest([]byte(c.body), shadow.Limits{})
		if c.message != "" {
			var invalid *shadow.InvalidError
			if !errors.As(err, &invalid) || invalid.Message != c.message {
				t.Errorf("ParseRequest(%s) = %v, want %s", c.body, err, c.message)
			}
			continue
		}
		version := -1
		if r != nil && r.Version != nil {
			version = int(*r.Version)
		}
		if err != nil || r.ClientToken != c.token || version != c.version {
			t.Errorf("ParseRequest(%s) = %+v, %v", c.body, r, err)
		}
	}
}
