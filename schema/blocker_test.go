package schema

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"gnomon/shadow"
)

func TestBlockers_RoundTrip(t *testing.T) {
	all := Blockers{
		{Code: BlockedBackoff, Message: "next try at noon", Until: time.Date(2024, 5, 1, 12, 0, 0, 5, time.UTC)},
		{Code: BlockedDependency, Message: "waiting for db: starting", On: "db"},
		{Code: BlockedFetch, Message: "fetching web@2", On: "web@2", Done: 63, Total: 100},
	}
	got := BlockersOf(shadow.NewObject(shadow.Member{Key: BlockersMember, Value: all.Value()}))
	if !reflect.DeepEqual(got, all) {
		t.Errorf("%+v, want %+v", got, all)
	}
	if m := got.Messages(); m[2] != "fetching web@2 (63%)" || m[1] != "waiting for db: starting" {
		t.Errorf("%q", m)
	}
	if Blockers(nil).Value() != nil {
		t.Error("no blockers have a value")
	}
}

// A device may report anything.
func TestBlockersOf_Anything(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Blockers
	}{
		{`{}`, nil},
		{`{"blockers":"x"}`, nil},
		{`{"blockers":{"code":"x","message":"y"}}`, nil},
		{`{"blockers":[1,null,true,"",[],{},{"code":"x"},{"message":"y"},{"code":1,"message":2}]}`, nil},
		{`{"blockers":["of an older edge"]}`, Blockers{{Code: BlockedOther, Message: "of an older edge"}}},
		{`{"blockers":[{"code":"x","message":"y","until":"soon","done":-1,"total":1e300,"on":[]}]}`, Blockers{{Code: "x", Message: "y"}}},
	} {
		v, err := shadow.Parse([]byte(test.in), shadow.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := BlockersOf(v); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.in, got, test.want)
		}
	}
	v, err := shadow.Parse([]byte(`{"blockers":["`+strings.Repeat("x", 2000)+`"`+strings.Repeat(`,"y"`, 100)+`]}`), shadow.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := BlockersOf(v); len(got) != MaxBlockers || len(got[0].Message) > maxBlockerText+3 {
		t.Errorf("%d blockers, the first of %d bytes", len(got), len(got[0].Message))
	}
}
