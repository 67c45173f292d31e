package modbus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// policyOn makes a policy for what a slave is attached to.
func policyOn(t *testing.T, o *outlet, rest string) *schema.Policy {
	t.Helper()
	p, err := schema.ParsePolicy([]byte(`{"source":{"kind":"modbus-tcp","address":"` + o.source.Address + `","timeout":"500ms"},` + rest + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readPolicy polls the first meter of a policy and returns text, or reasons in brackets.
func readPolicy(t *testing.T, d *Driver, p *schema.Policy) (map[string]string, collect.Result, error) {
	t.Helper()
	m := p.Meters[0]
	r, err := d.Poll(t.Context(), collect.Request{Source: p.Source, Meter: m, Items: p.ItemsOf(m), Priority: 5})
	out := make(map[string]string)
	for name, v := range r.Values {
		if out[name] = v.Value.Text(); v.Value == nil {
			out[name] = "[" + collect.Reason(v.Err) + "]"
		}
	}
	return out, r, err
}

func expect(t *testing.T, got map[string]string, want string) {
	t.Helper()
	var all []string
	for name, v := range got {
		all = append(all, name+"="+v)
	}
	slices.Sort(all)
	if s := strings.Join(all, " "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}

// registersOf is a slave that holds what a map says, and refuses what it doesn't.
func registersOf(held map[int]uint16) *slave {
	s := &slave{}
	s.holds = func(_ byte, address int) uint16 { return held[address] }
	s.fault = func(_ int, q question, good []byte) []reply {
		for i := range q.quantity {
			if _, ok := held[q.address+i]; !ok {
				return []reply{{0, s.frame(q, q.function|0x80, illegalAddress)}}
			}
		}
		return []reply{{0, good}}
	}
	return s
}

// Registers scale items: by their number, by a power of ten, by both; what says
// that it isn't there makes the item missing, and nothing else.
func TestPoll_ScaleFrom(t *testing.T) {
	s := registersOf(map[int]uint16{1: 2301, 2: 10, 3: 0xffff, 4: 0x8000, 5: 100, 6: 7, 7: 0x8000, 8: 0xffff})
	o := attach(t, schema.SourceModbusTCP, s)
	p := policyOn(t, o, `"meters":[{"id":"m"}],"items":[
		{"name":"linear","address":1,"scale":0.1,"scaleFrom":[{"address":2}]},
		{"name":"both","address":1,"scaleFrom":[{"address":2},{"address":3,"type":"int16","power":true}]},
		{"name":"power","address":1,"scaleFrom":[{"address":3,"type":"int16","power":true}]},
		{"name":"unscaled","address":1,"scaleFrom":[{"address":4,"type":"int16","power":true}]},
		{"name":"plain","address":5},
		{"name":"far","address":6,"scaleFrom":[{"address":900}]},
		{"name":"none","address":7,"type":"int16","none":"-32768","scaleFrom":[{"address":3,"type":"int16","power":true}]},
		{"name":"unsigned","address":8,"none":"65535"}]`)
	d := New()
	t.Cleanup(func() { d.Release(p.Source) })
	for range 2 {
		got, _, err := readPolicy(t, d, p)
		expect(t, got, "both=2301 far=[exception] linear=2301 none=[no-value] plain=100 power=230.1 unscaled=[no-value] unsigned=[no-value]")
		if err == nil {
			t.Error("a factor is refused, which nobody says")
		}
	}
}

// No request touches a forbidden register, whatever lies around it, and admission
// counts as many requests as are sent.
func TestPoll_Forbidden(t *testing.T) {
	s := &slave{}
	o := attach(t, schema.SourceModbusTCP, s)
	p := policyOn(t, o, `"meters":[{"id":"m","forbidden":["3:12-13","3:30","4:0-100"]}],"items":[
		{"name":"a","address":10},{"name":"b","address":11},{"name":"c","address":14},{"name":"d","address":20},{"name":"e","address":31}]`)
	d := New()
	t.Cleanup(func() { d.Release(p.Source) })
	_, r, err := readPolicy(t, d, p)
	want := p.BusTime(schema.Pace{}).Requests
	if err != nil || r.Frames != want || want != 3 {
		t.Errorf("%d requests, admission counts %d: %v", r.Frames, want, err)
	}
	for _, q := range s.asked {
		if p.Meters[0].Forbids().Touch(int(q.function), q.address, q.address+q.quantity) {
			t.Errorf("asked for %d registers at %d", q.quantity, q.address)
		}
	}
}

// sunSpec is a map at a base: the models, one after the other, after the mark.
func sunSpec(base int, models ...[]uint16) map[int]uint16 {
	held := map[int]uint16{base: 0x5375, base + 1: 0x6e53}
	at := base + 2
	for _, m := range models {
		for _, v := range m {
			held[at] = v
			at++
		}
	}
	held[at], held[at+1] = 0xffff, 0
	return held
}

// common is model 1, as long as a device has it.
func common(length int) []uint16 {
	return append([]uint16{1, uint16(length)}, make([]uint16, length)...)
}

const sunSpecItems = `"meters":[{"id":"m"}],"items":[
	{"name":"V","block":203,"address":3,"type":"int16","scaleFrom":[{"address":4,"type":"int16","power":true}]},
	{"name":"E","block":203,"address":5,"type":"uint32"}]`

// A SunSpec model is found wherever it is; once known it costs nothing more. When
// it has moved nothing is believed until it has been found again.
func TestPoll_SunSpec(t *testing.T) {
	meter := []uint16{203, 5, 0, 2301, 0xffff, 1, 2}
	for _, c := range []struct{ base, common int }{{40000, 66}, {40000, 65}, {50000, 66}, {0, 66}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			held := sunSpec(c.base, common(c.common), meter)
			s := registersOf(held)
			o := attach(t, schema.SourceModbusTCP, s)
			p := policyOn(t, o, sunSpecItems)
			d := New()
			t.Cleanup(func() { d.Release(p.Source) })
			const want = "E=65538 V=230.1"
			for i := range 3 {
				got, r, err := readPolicy(t, d, p)
				expect(t, got, want)
				if err != nil || i > 0 && r.Frames != 1 {
					t.Errorf("%d requests: %v", r.Frames, err)
				}
			}
			s.mu.Lock()
			clear(held)
			for at, v := range sunSpec(c.base, common(c.common), []uint16{700, 8, 7, 7, 7, 7, 7, 7, 7, 7}, meter) {
				held[at] = v
			}
			s.mu.Unlock()
			got, _, err := readPolicy(t, d, p)
			expect(t, got, "E=[garbled] V=[garbled]")
			if err == nil {
				t.Error("the map has moved, which nobody says")
			}
			got, _, _ = readPolicy(t, d, p)
			expect(t, got, want)
		})
	}
}

// A meter without the model is asked where it is once in a while, not in every
// cycle, and one that keeps silent not for each model.
func TestPoll_SunSpecAbsent(t *testing.T) {
	s := registersOf(sunSpec(40000, common(66)))
	o := attach(t, schema.SourceModbusTCP, s)
	p := policyOn(t, o, sunSpecItems)
	d := New()
	t.Cleanup(func() { d.Release(p.Source) })
	for i := range 3 {
		got, r, _ := readPolicy(t, d, p)
		expect(t, got, "E=[exception] V=[exception]")
		if i > 0 && r.Frames > 0 {
			t.Errorf("%d requests for what isn't there", r.Frames)
		}
	}
	mute := &slave{fault: func(int, question, []byte) []reply { return nil }}
	o = attach(t, schema.SourceModbusTCP, mute)
	p = policyOn(t, o, sunSpecItems)
	t.Cleanup(func() { d.Release(p.Source) })
	p.Source.Timeout = schema.Duration(50 * time.Millisecond)
	got, r, _ := readPolicy(t, d, p)
	expect(t, got, "E=[timeout] V=[timeout]")
	if r.Frames != p.Source.Tries {
		t.Errorf("%d requests to a meter that keeps silent, want %d", r.Frames, p.Source.Tries)
	}
}

// A map without an end, or one that turns upon itself, is given up on.
func TestPoll_SunSpecEndless(t *testing.T) {
	s := &slave{holds: func(_ byte, address int) uint16 {
		switch address {
		case 40000:
			return 0x5375
		case 40001:
			return 0x6e53
		}
		return uint16(address % 2) // model 0 of one register, and so on
	}}
	o := attach(t, schema.SourceModbusTCP, s)
	p := policyOn(t, o, sunSpecItems)
	d := New()
	t.Cleanup(func() { d.Release(p.Source) })
	got, r, _ := readPolicy(t, d, p)
	expect(t, got, "E=[exception] V=[exception]")
	if r.Frames > 70 {
		t.Errorf("%d requests", r.Frames)
	}
}
