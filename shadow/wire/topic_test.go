package wire_test

import (
	"strings"
	"testing"

	"gnomon/shadow/wire"
)

func TestParseTopic(t *testing.T) {
	thing, name := strings.Repeat("t", 128), strings.Repeat("s", 64)
	for topic, want := range map[string]wire.Topic{
		"$aws/things/T/shadow/get":                                     {Thing: "T", Op: wire.OpGet},
		"$aws/things/T/shadow/update":                                  {Thing: "T", Op: wire.OpUpdate},
		"$aws/things/T/shadow/delete":                                  {Thing: "T", Op: wire.OpDelete},
		"$aws/things/T/shadow/sync":                                    {Thing: "T", Op: wire.OpSync},
		"$aws/things/T/shadow/name/N/get":                              {Thing: "T", Shadow: "N", Op: wire.OpGet},
		"$aws/things/a:b_c-9/shadow/name/app:web/update":               {Thing: "a:b_c-9", Shadow: "app:web", Op: wire.OpUpdate},
		"$aws/things/T/shadow/name/$n/delete":                          {Thing: "T", Shadow: "$n", Op: wire.OpDelete},
		"$aws/things/shadow/shadow/name/name/get":                      {Thing: "shadow", Shadow: "name", Op: wire.OpGet},
		"things/T/shadow/get":                                          {Thing: "T", Op: wire.OpGet, Plain: true},
		"things/T/shadow/sync":                                         {Thing: "T", Op: wire.OpSync, Plain: true},
		"things/" + thing + "/shadow/name/" + name + "/update":         {Thing: thing, Shadow: name, Op: wire.OpUpdate, Plain: true},
		"$aws/things/" + thing + "/shadow/name/" + name + "s/update":   {},
		"$aws/things/" + thing + "t/shadow/get":                        {},
		"":                                                             {},
		"$aws":                                                         {},
		"$aws/things//shadow/get":                                      {},
		"$aws/things/T/shadow":                                         {},
		"$aws/things/T/shadow/":                                        {},
		"$aws/things/T/shadow/get/":                                    {},
		"$aws/things/T/shadow/get/accepted":                            {},
		"$aws/things/T/shadow/update/delta":                            {},
		"$aws/things/T/shadow/desired":                                 {},
		"$aws/things/T/shadow/name/N/sync":                             {}, // sync is of a whole thing
		"$aws/things/T/shadow/name//get":                               {},
		"$aws/things/T/shadow/name/get":                                {},
		"$aws/things/T/shadow/name/N/M/get":                            {},
		"$aws/things/T/shadow/name/a.b/get":                            {},
		"$aws/things/T/U/shadow/get":                                   {},
		"$aws/things/$T/shadow/get":                                    {},
		"$aws/things/é/shadow/get":                                     {},
		"$aws/things/+/shadow/get":                                     {},
		"$aws/things/#":                                                {},
		"$AWS/things/T/shadow/get":                                     {},
		"/things/T/shadow/get":                                         {},
		"$aws/$aws/things/T/shadow/get":                                {},
		"$aws/things/T/shadow/GET":                                     {},
		"$aws/things/T/shadow/name/" + strings.Repeat("N/", 100) + "x": {},
	} {
		got, ok := wire.ParseTopic(topic)
		if got != want || ok != (want.Op != 0) {
			t.Errorf("ParseTopic(%.80s) = %+v, %v, want %+v", topic, got, ok, want)
		}
		if ok && got.Request() != topic {
			t.Errorf("ParseTopic(%s).Request() = %s", topic, got.Request())
		}
	}
}

func TestTopic_Answers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{wire.Topic{Thing: "T", Op: wire.OpGet}.Accepted(), "$aws/things/T/shadow/get/accepted"},
		{wire.Topic{Thing: "T", Shadow: "N", Op: wire.OpUpdate}.Rejected(), "$aws/things/T/shadow/name/N/update/rejected"},
		{wire.Topic{Thing: "T", Op: wire.OpSync, Plain: true}.Accepted(), "things/T/shadow/sync/accepted"},
		{wire.Topic{Thing: "T", Op: wire.OpUpdate}.Delta(), "$aws/things/T/shadow/update/delta"},
		{wire.Topic{Thing: "T", Shadow: "N", Plain: true}.Documents(), "things/T/shadow/name/N/update/documents"},
		{wire.Topic{Thing: "T", Shadow: "app:web"}.Desired(), "$aws/things/T/shadow/name/app:web/desired"},
		{wire.Topic{Thing: "T", Op: 9}.Op.String(), "unknown"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	topic := wire.Topic{Thing: "T", Shadow: "N", Op: wire.OpUpdate}
	for _, sent := range []string{topic.Accepted(), topic.Rejected(), topic.Delta(), topic.Documents(), topic.Desired()} {
		if _, ok := wire.ParseTopic(sent); ok {
			t.Errorf("%s is taken for a request", sent)
		}
		got, leaf, ok := wire.ParseReply(sent)
		if !ok || got.Thing != "T" || got.Shadow != "N" || !strings.HasSuffix(sent, "/N/"+leaf) {
			t.Errorf("ParseReply(%s) = %+v, %s, %v", sent, got, leaf, ok)
		}
	}
}

func TestReserved(t *testing.T) {
	for topic, want := range map[string]bool{
		"$aws/things/T/shadow/update/delta": true,
		"$aws/anything":                     true,
		"$aws/things/T/jobs":                true,
		"things/T/shadow":                   true,
		"things/T/shadow/desired":           true,
		"things/T/shadowy":                  false,
		"things/T/data":                     false,
		"$awsome/x":                         false,
		"things//shadow/get":                true,
		"things/T":                          false,
		"other/things/T/shadow/get":         false,
		"aws/things":                        false,
	} {
		if got := wire.Reserved(topic); got != want {
			t.Errorf("Reserved(%s) = %v", topic, got)
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	for _, seed := range []string{"$aws/things/T/shadow/get", "things/a:b/shadow/name/$n/update", "$aws/things/T/shadow/sync", "things//shadow/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		got, ok := wire.ParseTopic(topic)
		if !ok {
			if got != (wire.Topic{}) {
				t.Fatalf("%q: not ok, yet %+v", topic, got)
			}
			return
		}
		if got.Request() != topic || !wire.ValidThing(got.Thing) || got.Shadow != "" && !wire.ValidShadow(got.Shadow) || !wire.Reserved(topic) {
			t.Fatalf("%q became %+v", topic, got)
		}
		if strings.ContainsAny(topic, "+#\x00") || strings.Count(topic, "/") > 6 {
			t.Fatalf("%q is taken for a request", topic)
		}
	})
}
