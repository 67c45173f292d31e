package modbus

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"gnomon/edge/collect"
	"gnomon/schema"
	"gnomon/shadow"
)

// What is encoded decodes to the same, for every type, order and scale.
func TestEncode_IsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		it := schema.Item{
			Function: 3, Order: rapid.SampledFrom(orders).Draw(t, "order"), Scale: rapid.SampledFrom([]float64{1, 0.1, 0.001, -0.5, 10}).Draw(t, "scale"),
			Type: rapid.SampledFrom([]string{"bool", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"}).Draw(t, "type"),
		}
		raw := rapid.SliceOfN(rapid.Byte(), 2*size(it), 2*size(it)).Draw(t, "raw")
		if it.Type == "bool" {
			raw = make([]byte, 2)
		}
		b := block{function: 3, quantity: uint16(size(it)), items: []schema.Item{it}}
		v, err := decode(b, raw, it)
		if err != nil {
			return // not a number
		}
		if it.Scale != 1 && size(it) == 4 {
			return // 64 bits have more digits than a scaled value
		}
		again, err := encode(it, v)
		if err != nil {
			t.Fatalf("%+v: %s: %v", it, v.Text(), err)
		}
		w, err := decode(b, again, it)
		if err != nil {
			t.Fatal(err)
		}
		x, xerr := strconv.ParseFloat(v.Text(), 64)
		y, yerr := strconv.ParseFloat(w.Text(), 64)
		if v.Text() != w.Text() && (xerr != nil || yerr != nil || math.Abs(x-y) > 1e-6*math.Abs(x)) {
			t.Errorf("%+v: % x is %s, and that % x, which is %s", it, raw, v.Text(), again, w.Text())
		}
	})
}

func TestEncode_Refuses(t *testing.T) {
	for _, c := range []struct {
		typ   string
		scale float64
		value *shadow.Value
	}{
		{"uint16", 1, shadow.Int(-1)}, {"uint16", 1, shadow.Int(65536)}, {"uint16", 0.1, shadow.Float(6553.6)}, {"int16", 1, shadow.Int(32768)},
		{"uint16", 1, shadow.Float(1.5)}, {"int32", 1, shadow.Int(1 << 31)}, {"float32", 1, shadow.Float(1e39)}, {"uint64", 1, shadow.Int(-1)},
	} {
		if raw, err := encode(schema.Item{Function: 3, Type: c.typ, Scale: c.scale, Order: "ABCD"}, c.value); !errors.Is(err, collect.ErrOutOfRange) {
			t.Errorf("%+v: % x, %v", c, raw, err)
		}
	}
}

// A slave that isn't ours takes what is written, over every medium, with every
// function, and shows it afterwards.
func TestForeign_Write(t *testing.T) {
	t.Parallel()
	for _, kind := range append(slices.Clone(Kinds), "modbus-serial") {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			mk := makers[1]
			if kind == "modbus-serial" {
				mk, kind = makers[2], schema.SourceModbusTCP
			}
			a := newAsker(t, mk, kind)
			for _, c := range []struct {
				function int
				item     schema.Item
				value    *shadow.Value
			}{
				{5, schema.Item{Function: 1, Address: 7, Type: "bool", Order: "ABCD", Scale: 1}, shadow.Flag(true)},
				{5, schema.Item{Function: 1, Address: 7, Type: "bool", Order: "ABCD", Scale: 1}, shadow.Flag(false)},
				{6, schema.Item{Function: 3, Address: 10, Type: "uint16", Order: "ABCD", Scale: 0.1}, shadow.Float(230.1)},
				{6, schema.Item{Function: 3, Address: 11, Type: "int16", Order: "BADC", Scale: 1}, shadow.Int(-5)},
				{16, schema.Item{Function: 3, Address: 20, Type: "float32", Order: "CDAB", Scale: 1}, shadow.Float(1.5)},
				{16, schema.Item{Function: 3, Address: 30, Type: "int64", Order: "ABCD", Scale: 1}, shadow.Int(-1 << 40)},
			} {
				w := collect.WriteRequest{Source: a.source, Meter: schema.Meter{ID: "m", Unit: 1}, Item: c.item, Function: c.function, Value: c.value}
				back, err := a.driver.Write(t.Context(), w)
				if err != nil || back.Value.Text() != c.value.Text() || back.At.IsZero() {
					t.Errorf("function %d: it shows %s, want %s: %v", c.function, back.Value.Text(), c.value.Text(), err)
				}
				c.item.Name = "x"
				if r, err := a.ask([]schema.Item{c.item}); err != nil || r.Values["x"].Value.Text() != c.value.Text() {
					t.Errorf("function %d: read as %s, %v", c.function, r.Values["x"].Value.Text(), err)
				}
			}
			beyond := collect.WriteRequest{Source: a.source, Meter: schema.Meter{ID: "m", Unit: 1}, Function: 6, Value: shadow.Int(1),
				Item: schema.Item{Function: 3, Address: 5000, Type: "uint16", Order: "ABCD", Scale: 1}}
			if _, err := a.driver.Write(t.Context(), beyond); !errors.Is(err, collect.ErrException) {
				t.Errorf("beyond what it has: %v", err)
			}
		})
	}
}

// A write that isn't answered, or is with something else, is not repeated, and said
// to be in doubt.
func TestWrite_IsNotRepeated(t *testing.T) {
	for name, spoil := range map[string]func(good []byte) []reply{
		"silence":         func([]byte) []reply { return nil },
		"another address": func(good []byte) []reply { good[len(good)-3]++; return []reply{{0, good}} },
		"another value":   func(good []byte) []reply { good[len(good)-1]++; return []reply{{0, good}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := &slave{}
			s.fault = func(_ int, q question, _ []byte) []reply {
				pdu := []byte{q.function, byte(q.address >> 8), byte(q.address), byte(q.quantity >> 8), byte(q.quantity)}
				return spoil(s.frame(q, pdu...))
			}
			o := attach(t, schema.SourceModbusTCP, s)
			d := New()
			t.Cleanup(func() { d.Release(o.source) })
			_, err := d.Write(t.Context(), collect.WriteRequest{Source: o.source, Meter: schema.Meter{ID: "m", Unit: 1}, Function: 6, Value: shadow.Int(7),
				Item: schema.Item{Function: 3, Address: 5, Type: "uint16", Order: "ABCD", Scale: 1}})
			if !errors.Is(err, collect.ErrTimeout) && !errors.Is(err, collect.ErrGarbled) {
				t.Error(err)
			}
			if n := s.count(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}
