package modbus

import (
	"encoding/hex"
	"errors"
	"testing"

	"gnomon/edge/collect"
	"gnomon/schema"
)

var orders = []string{"ABCD", "DCBA", "BADC", "CDAB"}

// onWire puts a big-endian number into the order in which a meter sends it.
func onWire(be []byte, order string) []byte {
	n := len(be)
	out := make([]byte, n)
	for i := range out {
		switch order {
		case "ABCD":
			out[i] = be[i]
		case "DCBA":
			out[i] = be[n-1-i]
		case "BADC":
			out[i] = be[i^1]
		case "CDAB":
			out[i] = be[n-2-i&^1+i&1]
		}
	}
	return out
}

var decodeTable = []struct {
	typ   string
	be    string // the number's bytes, the highest first
	scale float64
	want  string // "" = not a number
}{
	{"bool", "0000", 1, "false"},
	{"bool", "0001", 1, "true"},
	{"bool", "8000", 1, "true"},
	{"uint16", "0000", 1, "0"},
	{"uint16", "1234", 1, "4660"},
	{"uint16", "ffff", 1, "65535"},
	{"uint16", "08fd", 0.1, "230.1"}, // not 230.10000000000002
	{"uint16", "08fd", -0.1, "-230.1"},
	{"uint16", "0003", 1000, "3000"},
	{"int16", "7fff", 1, "32767"},
	{"int16", "8000", 1, "-32768"},
	{"int16", "ffff", 0.01, "-0.01"},
	{"uint32", "12345678", 1, "305419896"},
	{"uint32", "ffffffff", 1, "4294967295"},
	{"uint32", "ffffffff", 0.001, "4.294967295e+06"},
	{"int32", "80000000", 1, "-2147483648"},
	{"int32", "fffffffe", 0.5, "-1"},
	{"uint64", "0123456789abcdef", 1, "81985529216486895"},
	{"uint64", "0020000000000001", 1, "9007199254740993"}, // a float64 has no such number
	{"uint64", "ffffffffffffffff", 1, "18446744073709551615"},
	{"uint64", "000000174876e7ff", 0.1, "9.9999999999e+09"},
	{"int64", "7fffffffffffffff", 1, "9223372036854775807"},
	{"int64", "8000000000000000", 1, "-9223372036854775808"},
	{"int64", "ffdfffffffffffff", 1, "-9007199254740993"},
	{"int64", "ffffffffffffffff", 0.1, "-0.1"},
	{"float32", "43668000", 1, "230.5"},
	{"float32", "4366199a", 1, "230.1"}, // its own digits, not those of the float64 next to it
	{"float32", "4366199a", 10, "2301"},
	{"float32", "4366199a", 0.001, "0.2301"},
	{"float32", "c366199a", 1, "-230.1"},
	{"float32", "00000000", 1, "0"},
	{"float32", "00000001", 1, "1e-45"},
	{"float32", "7f7fffff", 1, "3.4028235e+38"},
	{"float32", "7f7fffff", 1e300, ""},
	{"float32", "7f800000", 1, ""},
	{"float32", "ff800000", 1, ""},
	{"float32", "7fc00000", 1, ""},
	{"float32", "ffffffff", 1, ""}, // what many meters send for "no value"
	{"float32", "7f800001", 0.1, ""},
	{"float64", "406cc33333333333", 1, "230.1"},
	{"float64", "406cc33333333333", 10, "2301"},
	{"float64", "3fd3333333333334", 1, "0.30000000000000004"},
	{"float64", "7fefffffffffffff", 1, "1.7976931348623157e+308"},
	{"float64", "7fefffffffffffff", 10, ""},
	{"float64", "7ff0000000000000", 1, ""},
	{"float64", "fff0000000000000", 0.1, ""},
	{"float64", "7ff8000000000001", 1, ""},
}

func TestDecode_Table(t *testing.T) {
	for _, c := range decodeTable {
		for _, order := range orders {
			be, err := hex.DecodeString(c.be)
			if err != nil {
				t.Fatal(err)
			}
			it := schema.Item{Name: "x", Function: 3, Address: 102, Type: c.typ, Order: order, Scale: c.scale}
			data := append([]byte{0xee, 0xee, 0xee, 0xee}, onWire(be, order)...) // after two other registers
			data = append(data, 0xee, 0xee)
			v, err := decode(block{3, 100, uint16(len(data) / 2), []schema.Item{it}}, data, it)
			if c.want == "" {
				if v != nil || !errors.Is(err, collect.ErrNotNumber) {
					t.Errorf("%s %s × %v %s = %s, %v; want %v", c.typ, c.be, c.scale, order, v.Text(), err, collect.ErrNotNumber)
				}
				continue
			}
			if err != nil || v.Text() != c.want {
				t.Errorf("%s %s × %v %s = %s, %v; want %s", c.typ, c.be, c.scale, order, v.Text(), err, c.want)
			}
		}
	}
}

// The orders spelt out, so that the table doesn't rest on onWire.
func TestDecode_Orders(t *testing.T) {
	for _, c := range []struct{ typ, order, wire, want string }{
		{"uint16", "ABCD", "1234", "4660"},
		{"uint16", "DCBA", "3412", "4660"},
		{"uint16", "BADC", "3412", "4660"},
		{"uint16", "CDAB", "1234", "4660"}, // one register: nothing to swap
		{"uint32", "ABCD", "12345678", "305419896"},
		{"uint32", "DCBA", "78563412", "305419896"},
		{"uint32", "BADC", "34127856", "305419896"},
		{"uint32", "CDAB", "56781234", "305419896"},
		{"float32", "CDAB", "199a4366", "230.1"},
		{"uint64", "ABCD", "0123456789abcdef", "81985529216486895"},
		{"uint64", "DCBA", "efcdab8967452301", "81985529216486895"},
		{"uint64", "BADC", "23016745ab89efcd", "81985529216486895"},
		{"uint64", "CDAB", "cdef89ab45670123", "81985529216486895"},
	} {
		data, err := hex.DecodeString(c.wire)
		if err != nil {
			t.Fatal(err)
		}
		it := schema.Item{Function: 4, Type: c.typ, Order: c.order, Scale: 1}
		v, err := decode(block{function: 4, quantity: uint16(len(data) / 2)}, data, it)
		if err != nil || v.Text() != c.want {
			t.Errorf("%s %s %s = %s, %v; want %s", c.typ, c.order, c.wire, v.Text(), err, c.want)
		}
	}
}

func TestDecode_LeavesTheBlockAlone(t *testing.T) {
	data := []byte{1, 2, 3, 4}
	it := schema.Item{Function: 3, Type: "uint32", Order: "DCBA", Scale: 1}
	for range 2 { // overlapping items are decoded from the same bytes
		if v, err := decode(block{function: 3, quantity: 2}, data, it); err != nil || v.Text() != "67305985" {
			t.Errorf("%s, %v", v.Text(), err)
		}
	}
}

func TestDecode_Bits(t *testing.T) {
	b := block{function: 1, address: 40, quantity: 12}
	data := []byte{0b0100_0001, 0b0000_1000} // bits 0, 6 and 11: the lowest comes first
	for i := range 12 {
		want := "false"
		if i == 0 || i == 6 || i == 11 {
			want = "true"
		}
		v, err := decode(b, data, schema.Item{Function: 1, Address: 40 + i, Type: "bool"})
		if err != nil || v.Text() != want {
			t.Errorf("bit %d is %s, %v; want %s", i, v.Text(), err, want)
		}
	}
}
