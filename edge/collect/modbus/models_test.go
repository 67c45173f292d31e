package modbus

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"gnomon/schema"
)

// put lays a number into registers, the highest first.
func put(held map[int]uint16, address int, value any) {
	raw, err := binary.Append(nil, binary.BigEndian, value)
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(raw); i += 2 {
		held[address+i/2] = binary.BigEndian.Uint16(raw[i:])
	}
}

// Each device model reads what a device of its register map holds.
func TestModels_Read(t *testing.T) {
	acrel := make(map[int]uint16)
	for i := range 400 {
		acrel[i] = 0
	}
	put(acrel, 0x61, uint16(2301))
	put(acrel, 0x65, uint16(512))
	put(acrel, 0x77, uint16(5001))
	put(acrel, 0x16a, int32(-12345))
	put(acrel, 0x17f, int16(-957))
	put(acrel, 0x0a, uint32(166269))
	put(acrel, 0x14, uint32(3))
	schneider := make(map[int]uint16)
	for i := 2990; i < 3300; i++ {
		schneider[i] = 0
	}
	put(schneider, 3001, float32(4.5))
	put(schneider, 3023, float32(400.2))
	put(schneider, 3027, float32(230.1))
	put(schneider, 3059, float32(-1.25))
	put(schneider, 3083, float32(1.05))
	put(schneider, 3109, float32(math.NaN()))
	put(schneider, 3203, int64(1662690))
	meter := make([]uint16, 107)
	meter[0], meter[1] = 203, 105
	for at, v := range map[int]int16{2: 123, 3: 41, 5: math.MinInt16, 6: -1, 8: 2301, 15: -1, 16: 5001, 17: -2, 18: -250, 22: 1, 23: 100, 27: math.MinInt16, 33: 95, 37: 0, 54: 0} {
		meter[at] = uint16(v)
	}
	meter[46], meter[47] = 25, 24290 // 1662690 Wh
	for _, c := range []struct {
		model string
		held  map[int]uint16
		want  string
	}{
		{"acrel-dtsd1352", acrel, "V1=230.1 I2=5.12 F=50.01 P=-12.345 PF=-0.957 EImport=1662.69 EExport=0.03 V2=0"},
		{"schneider-pm51xx", schneider, "I2=4.5 V31=400.2 V1=230.1 P=-1.25 PF4Q=1.05 F=[not-a-number] EImport=1662.69"},
		{"sunspec-203", sunSpec(40000, common(66), meter), "I=12.3 I1=4.1 I3=[no-value] V1=230.1 F=50.01 P=-2500 S=[no-value] PF=95 EImport=1662.69 EExport=0"},
	} {
		t.Run(c.model, func(t *testing.T) {
			o := attach(t, schema.SourceModbusTCP, registersOf(c.held))
			p := policyOn(t, o, `"meters":[{"id":"m","model":"`+c.model+`"}]`)
			d := New()
			t.Cleanup(func() { d.Release(p.Source) })
			got, _, err := readPolicy(t, d, p)
			if err != nil {
				t.Error(err)
			}
			for _, one := range strings.Fields(c.want) {
				name, want, _ := strings.Cut(one, "=")
				if got[name] != want {
					t.Errorf("%s is %s, want %s", name, got[name], want)
				}
			}
			if m, _ := schema.ModelNamed(c.model + "@1"); m.Unverified == "" || len(m.Items) != len(got) {
				t.Errorf("%d items of %d; unverified: %q", len(got), len(m.Items), m.Unverified)
			}
		})
	}
}
