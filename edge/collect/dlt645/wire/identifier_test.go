package wire

import "testing"

func TestLookup(t *testing.T) {
	for d, want := range map[DI]struct {
		name string
		size int
	}{
		0x00000000: {"combined active energy, total", 4}, 0x00010400: {"forward active energy, tariff 4", 4},
		0x0002FF00: {"reverse active energy, block", 4}, 0x00010001: {"forward active energy, settlement 1 ago, total", 4},
		0x01010000: {"forward active maximum demand, total", 8}, 0x02010100: {"voltage, phase A", 2},
		0x0201FF00: {"voltage, block", 2}, 0x02020300: {"current, phase C", 3}, 0x02030000: {"active power, total", 3},
		0x02060300: {"power factor, phase C", 2}, 0x02070100: {"phase angle, phase A", 2}, 0x02800001: {"neutral current", 3},
		0x02800002: {"frequency", 2}, 0x04000101: {"date", 4}, 0x04000102: {"time", 3}, 0x04000401: {"address", 6},
		0x05060001: {"time, daily freeze 1 ago", 5}, 0x05060101: {"forward active energy, daily freeze 1 ago", 4},
		0x05060202: {"reverse active energy, daily freeze 2 ago", 4},
	} {
		if it, ok := Lookup(d); !ok || it.Name != want.name || it.Size() != want.size {
			t.Errorf("%s: %q of %d bytes, %v", d, it.Name, it.Size(), ok)
		}
	}
	for _, d := range []DI{0x00014000, 0x000B0000, 0x0001000D, 0x02010000, 0x02010400, 0x02080100, 0x02010101, 0x05060100, 0x05060301, 0x05000101, 0x12345678} {
		if it, ok := Lookup(d); ok {
			t.Errorf("%s is %q", d, it.Name)
		}
	}
}

func TestDI_Block(t *testing.T) {
	for d, want := range map[DI]struct {
		block DI
		index int
		ok    bool
	}{
		0x00010000: {0x0001FF00, 0, true}, 0x00010400: {0x0001FF00, 4, true}, 0x00010401: {0x0001FF01, 4, true},
		0x01010200: {0x0101FF00, 2, true}, 0x02010100: {0x0201FF00, 0, true}, 0x02020300: {0x0202FF00, 2, true},
		0x02030000: {0x0203FF00, 0, true}, 0x02030300: {0x0203FF00, 3, true}, 0x02070100: {0x0207FF00, 0, true},
		0x02010000: {}, 0x02010400: {}, 0x0201FF00: {}, 0x0001FF00: {}, 0x02800002: {}, 0x04000101: {}, 0x05060101: {}, 0x000B0000: {}, 0x02080100: {},
	} {
		block, index, ok := d.Block()
		if block != want.block || index != want.index || ok != want.ok {
			t.Errorf("%s: %s, %d, %v", d, block, index, ok)
		}
		if ok {
			if _, known := Lookup(block); !known {
				t.Errorf("the block %s isn't known", block)
			}
		}
	}
}

func TestParseDI(t *testing.T) {
	d, err := ParseDI("0201FF00")
	if err != nil || d != 0x0201FF00 || d.String() != "0201FF00" || string(d.Append(nil)) != "\x00\xff\x01\x02" {
		t.Errorf("%s, %v", d, err)
	}
	for _, bad := range []string{"", "0201FF0", "0201FF000", "0201FF0G", "-201FF00"} {
		if d, err := ParseDI(bad); err == nil {
			t.Errorf("%q is %s", bad, d)
		}
	}
}
