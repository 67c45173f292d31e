package modbus

import (
	"errors"
	"strings"
	"testing"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// What lies past the last register is refused by name, and nothing is asked for in its
// place: an address that wraps around would be another's. The rest of the meter is read.
func TestPoll_SunSpecPastEnd(t *testing.T) {
	for _, c := range []struct{ name, items, want, why string }{
		{"an absolute address", `{"name":"V","block":203,"address":40074,"type":"int16"}`, "V=[exception] ok=7", "item V of SunSpec model 203 at 40070: register 80144"},
		{"its last register", `{"name":"V","block":203,"address":25465,"type":"uint32"}`, "V=[exception] ok=7", "registers 65535 to 65536"},
		{"what scales it", `{"name":"V","block":203,"address":2,"scaleFrom":[{"address":40074}]}`, "V=[exception] ok=7", "register 80144"},
		{"the last that there is", `{"name":"V","block":203,"address":25465}`, "V=5 ok=7", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &slave{}
			model := sunSpec(40000, common(66), []uint16{203, 5, 7, 7, 7, 7, 7})
			s.holds = func(_ byte, address int) uint16 { // any register there is, also where a wrapped address leads
				if v, ok := model[address]; ok {
					return v
				}
				return 5
			}
			o := attach(t, schema.SourceModbusTCP, s)
			p := policyOn(t, o, `"meters":[{"id":"m"}],"items":[{"name":"ok","block":203,"address":3},`+c.items+`]`)
			d := New()
			t.Cleanup(func() { d.Release(p.Source) })
			for range 2 {
				got, r, err := readPolicy(t, d, p)
				expect(t, got, c.want)
				if why := r.Values["V"].Err; c.why != "" && (err == nil || why == nil || !strings.Contains(why.Error(), c.why)) {
					t.Errorf("it says %v, %v, want %q", why, err, c.why)
				}
			}
			for _, q := range s.asked {
				if q.address < 40000 {
					t.Errorf("asked for %d registers at %d", q.quantity, q.address)
				}
			}
		})
	}
}

// A device may say of its models what it likes.
func TestPoll_SunSpecAtTheEnd(t *testing.T) {
	held := sunSpec(40000, []uint16{1, 65530 - 40004})
	delete(held, 65530)
	held[65530], held[65531], held[65532], held[65533] = 203, 5, 0xffff, 0
	s := registersOf(held)
	s.fault = nil
	o := attach(t, schema.SourceModbusTCP, s)
	p := policyOn(t, o, `"meters":[{"id":"m"}],"items":[{"name":"in","block":203,"address":5},{"name":"out","block":203,"address":6},{"name":"over","block":203,"address":5,"type":"uint32"}]`)
	d := New()
	t.Cleanup(func() { d.Release(p.Source) })
	got, _, err := readPolicy(t, d, p)
	expect(t, got, "in=0 out=[exception] over=[exception]")
	if !errors.Is(err, collect.ErrException) {
		t.Errorf("%v", err)
	}
}

// An answer that doesn't hold an item is garbled, whoever is to blame.
func TestDecode_Outside(t *testing.T) {
	for _, c := range []struct {
		at, data int
		it       schema.Item
	}{
		{0, 2, schema.Item{Function: 3, Address: 1, Type: "uint16"}},
		{0, 2, schema.Item{Function: 3, Address: 0, Type: "uint32"}},
		{0, 2, schema.Item{Function: 3, Address: 1 << 16, Type: "uint16"}},
		{2, 8, schema.Item{Function: 3, Address: 1, Type: "uint16"}},
		{0, 1, schema.Item{Function: 1, Address: 8, Type: "bool"}},
		{8, 1, schema.Item{Function: 2, Address: 0, Type: "bool"}},
	} {
		if v, err := decode(block{address: uint16(c.at)}, make([]byte, c.data), c.it); v != nil || !errors.Is(err, collect.ErrGarbled) {
			t.Errorf("%+v in %d bytes at %d: %v, %v", c.it, c.data, c.at, v, err)
		}
	}
}
