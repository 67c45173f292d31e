package wire_test

import (
	"testing"

	"gnomon/shadow/wire"
)

func TestReadings_Topics(t *testing.T) {
	r := wire.Readings{Thing: "n1"}
	for topic, want := range map[string]string{
		r.Batch():    "things/n1/readings",
		r.Accepted(): "things/n1/readings/accepted",
		r.Rejected(): "things/n1/readings/rejected",
		r.Read():     "things/n1/read",
		r.Answer():   "things/n1/read/answer",
	} {
		if topic != want {
			t.Errorf("topic %q, want %q", topic, want)
		}
	}
}

func TestParseReadings(t *testing.T) {
	for topic, want := range map[string]struct{ batch, ok bool }{
		"things/n1/readings":          {true, true},
		"things/n1/read/answer":       {false, true},
		"things/n1/read":              {},
		"things/n1/readings/accepted": {},
		"things/n1/readings/rejected": {},
		"things/n1/readings/":         {},
		"things//readings":            {},
		"things/a b/readings":         {},
		"$aws/things/n1/readings":     {},
		"things/n1":                   {},
		"readings":                    {},
	} {
		r, batch, ok := wire.ParseReadings(topic)
		if batch != want.batch || ok != want.ok || ok && r.Thing != "n1" {
			t.Errorf("%s: %+v %v %v, want %+v", topic, r, batch, ok, want)
		}
	}
}
