package modbus

import (
	"errors"
	"fmt"
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

// The registers of SunSpec models that no request may touch are found out about when
// the model was, and none of those that look for it is sent into them either.
func TestPoll_SunSpecForbidden(t *testing.T) {
	vendor := append([]uint16{64000, 4}, 1, 2, 3, 4) // at 40077
	for _, c := range []struct{ name, forbidden, want, why string }{
		{"nothing", ``, "E=65538 V=230.1 x=1", ""},
		{"an item", `"3:40075-40076"`, "E=[exception] V=230.1 x=1", "registers 40075 to 40076: that is forbidden"},
		{"the second half of an item", `"3:40076"`, "E=[exception] V=230.1 x=1", "registers 40075 to 40076"},
		{"what scales an item", `"3:40074"`, "E=65538 V=[exception] x=1", "register 40074"},
		{"the model's number", `"3:40070"`, "E=[exception] V=[exception] x=[exception]", "40070"},
		{"the model's length", `"3:40071"`, "E=[exception] V=[exception] x=[exception]", "40071"},
		{"a model beyond", `"3:40070-40090","4:0-65535"`, "E=[exception] V=[exception] x=[exception]", "40070"},
		{"the next model", `"3:40077-40082"`, "E=65538 V=230.1 x=[exception]", "40077"},
		{"where maps begin", `"3:40001","3:50000"`, "E=[exception] V=[exception] x=[exception]", ""},
		{"all", `"3:0-65535"`, "E=[exception] V=[exception] x=[exception]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := registersOf(sunSpec(40000, common(66), []uint16{203, 5, 0, 2301, 0xffff, 1, 2}, vendor))
			o := attach(t, schema.SourceModbusTCP, s)
			items := `"meters":[{"id":"m","forbidden":[` + c.forbidden + `]}],"items":[{"name":"x","block":64000,"address":2},` + strings.SplitN(sunSpecItems, `"items":[`, 2)[1]
			p := policyOn(t, o, items)
			d := New()
			t.Cleanup(func() { d.Release(p.Source) })
			for range 2 {
				got, r, err := readPolicy(t, d, p)
				expect(t, got, c.want)
				said := errors.Join(err, r.Values["V"].Err, r.Values["E"].Err, r.Values["x"].Err)
				if c.why != "" && !strings.Contains(fmt.Sprint(said), c.why) {
					t.Errorf("it says %v, want %q", said, c.why)
				}
			}
			for _, q := range s.asked {
				if p.Meters[0].Forbids().Touch(int(q.function), q.address, q.address+q.quantity) {
					t.Errorf("asked for %d registers at %d", q.quantity, q.address)
				}
			}
		})
	}
}

// Where a model is was found out before the policy forbade it: what is known of a
// meter doesn't weaken what is forbidden now, nor does what was forbidden then.
func TestPoll_SunSpecForbiddenLater(t *testing.T) {
	s := registersOf(sunSpec(40000, common(66), []uint16{203, 5, 0, 2301, 0xffff, 1, 2}))
	o := attach(t, schema.SourceModbusTCP, s)
	d := New()
	read := func(forbidden schema.Ranges) (map[string]string, []question) {
		list, err := forbidden.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.asked = nil
		s.mu.Unlock()
		p := policyOn(t, o, strings.Replace(sunSpecItems, `{"id":"m"}`, `{"id":"m","forbidden":`+string(list)+`}`, 1))
		t.Cleanup(func() { d.Release(p.Source) })
		got, _, _ := readPolicy(t, d, p)
		return got, s.asked
	}
	for _, c := range []struct {
		forbidden schema.Ranges
		want      string
	}{
		{"3:40070", "E=[exception] V=[exception]"}, {"", "E=65538 V=230.1"}, {"3:40070", "E=[exception] V=[exception]"},
		{"3:40074", "E=65538 V=[exception]"}, {"", "E=65538 V=230.1"},
	} {
		got, asked := read(c.forbidden)
		expect(t, got, c.want)
		for _, q := range asked {
			if c.forbidden.Touch(int(q.function), q.address, q.address+q.quantity) {
				t.Errorf("forbidden %s: asked for %d registers at %d", c.forbidden, q.quantity, q.address)
			}
		}
	}
}
