package snmp

import (
	"testing"

	"github.com/gosnmp/gosnmp"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Every type that an agent may answer with becomes a value, or none with a reason.
func TestDecode(t *testing.T) {
	plain, bit := schema.Item{Name: "x", Scale: 1}, schema.Item{Name: "x", Scale: 1, Type: "bool"}
	for _, c := range []struct {
		of   gosnmp.SnmpPDU
		it   schema.Item
		want string
	}{
		{gosnmp.SnmpPDU{Type: gosnmp.Integer, Value: -5}, plain, "-5"},
		{gosnmp.SnmpPDU{Type: gosnmp.Counter64, Value: uint64(1<<64 - 1)}, plain, "18446744073709551615"},
		{gosnmp.SnmpPDU{Type: gosnmp.Gauge32, Value: uint(7)}, schema.Item{Name: "x", Scale: 0.1}, "0.7"},
		{gosnmp.SnmpPDU{Type: gosnmp.TimeTicks, Value: uint32(1234)}, schema.Item{Name: "x", Scale: 0.01}, "12.34"},
		{gosnmp.SnmpPDU{Type: gosnmp.OpaqueFloat, Value: float32(230.1)}, plain, "230.1"},
		{gosnmp.SnmpPDU{Type: gosnmp.OpaqueDouble, Value: 0.25}, plain, "0.25"},
		{gosnmp.SnmpPDU{Type: gosnmp.OctetString, Value: []byte(" 49.9 ")}, plain, "49.9"},
		{gosnmp.SnmpPDU{Type: gosnmp.OctetString, Value: []byte{0xff, 0xfe}}, plain, "[not-a-number]"},
		{gosnmp.SnmpPDU{Type: gosnmp.IPAddress, Value: "10.0.0.1"}, plain, "[not-a-number]"},
		{gosnmp.SnmpPDU{Type: gosnmp.Null}, plain, "[no-value]"},
		{gosnmp.SnmpPDU{Type: gosnmp.NoSuchInstance}, plain, "[exception]"},
		{gosnmp.SnmpPDU{Type: gosnmp.EndOfMibView}, bit, "[exception]"},
		{gosnmp.SnmpPDU{Type: gosnmp.Counter32}, plain, "[garbled]"},
		{gosnmp.SnmpPDU{Type: gosnmp.Integer, Value: 1}, bit, "true"},
		{gosnmp.SnmpPDU{Type: gosnmp.Integer, Value: 2}, bit, "false"},
		{gosnmp.SnmpPDU{Type: gosnmp.Integer, Value: 3}, bit, "[not-a-number]"},
		{gosnmp.SnmpPDU{Type: gosnmp.OctetString, Value: []byte{1}}, bit, "[not-a-number]"},
	} {
		v, err := decode(c.of, c.it)
		got := v.Text()
		if err != nil {
			got = "[" + collect.Reason(err) + "]"
		}
		if got != c.want || (v == nil) == (err == nil) {
			t.Errorf("%v %v: %s, want %s (%v)", c.of.Type, c.of.Value, got, c.want, err)
		}
	}
}

// Whatever arrives in place of an answer is refused, or says of every object what it
// was asked for.
func FuzzAnswer(f *testing.F) {
	asked := []string{enterprise + "1.0", enterprise + "2.0"}
	g := &gosnmp.GoSNMP{Version: gosnmp.Version2c, Community: "public"}
	good, err := g.SnmpEncodePacket(gosnmp.GetResponse, []gosnmp.SnmpPDU{
		{Name: asked[0], Type: gosnmp.Integer, Value: 230}, {Name: asked[1], Type: gosnmp.OctetString, Value: "49.9"},
	}, 0, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, text []byte) {
		var packet *gosnmp.SnmpPacket
		func() {
			defer func() { _ = recover() }() // gosnmp's own sending recovers likewise
			packet, _ = g.SnmpDecodePacket(text)
		}()
		if packet == nil {
			return
		}
		got := make(map[string]answer)
		if take(packet, asked, got) != nil {
			if len(got) != 0 {
				t.Errorf("refused, and taken: %v", got)
			}
			return
		}
		for _, oid := range asked {
			a, there := got[oid]
			if !there {
				t.Fatalf("%s is missing", oid)
			}
			if v, err := decode(a.variable, schema.Item{Name: "x", OID: oid, Scale: 0.1}); (v == nil) == (err == nil) {
				t.Errorf("%s: %v, %v", oid, v, err)
			}
		}
	})
}
