package dlt698

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect/drivertest"
	"gnomon/schema"
)

func TestSuite(t *testing.T) {
	const limit = 2 * time.Second
	drivertest.Run(t, drivertest.Config{In: synctest.Test, Fresh: func(t *testing.T) *drivertest.Rig {
		s := &server{
			meters:   map[string]uint64{"000000000001": 1, "000000000002": 2},
			constant: map[uint32][]byte{0x20000201: {0x12, 0x08, 0xfd}, 0x20010201: {0x05, 0, 0, 0, 77}},
			refuse:   map[uint32]byte{0x20040201: 6},
		}
		w := &drivertest.Lines{Serve: func(c net.Conn) { s.serve(c) }}
		t.Cleanup(func() { w.Cut() })
		preamble := 4
		return &drivertest.Rig{
			Driver: NewOver(w.Open),
			Source: schema.Source{Kind: schema.SourceDLT698TCP, Address: "line:1", Timeout: schema.Duration(limit), Tries: 2, Preamble: &preamble, MaxFrame: 512},
			Meters: []schema.Meter{{ID: "one", Address: "000000000001"}, {ID: "two", Address: "000000000002"}},
			Items:  attributes("", "20000201", "20010201"),
			Want: func(_ schema.Meter, it schema.Item) string {
				return map[string]string{"20000201": "2301", "20010201": "77"}[it.OAD]
			},
			Vain:   []drivertest.Vain{{Item: attributes("", "20040201")[0], Reason: "exception"}},
			Dead:   schema.Meter{ID: "dead", Address: "000000000099"},
			Budget: 6*limit + time.Second, // two tries, each after the line has come to rest
			Mute:   w.Mute,
			Cut:    w.Cut,
			Settle: func(int) { synctest.Wait() },
		}
	}})
}
