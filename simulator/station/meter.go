package station

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	wire645 "gnomon/edge/collect/dlt645/wire"
	"gnomon/edge/collect/q376/wire"
)

// Meter is one meter of the area.
type Meter struct {
	Number   int // from 1
	Address  wire.Address
	Protocol wire.Protocol
	Phases   int // 1 or 3
	Hops     int // between the CCO and its node, 1 = it hears the CCO itself
	Parent   int // number of the node that relays for it, 0 = the CCO
	Phase    int // of the mains, that its node is on, 1 to 3

	drift time.Duration
	every time.Duration      // between two records of what is measured
	fixed map[quantity]int64 // tests put their own values here
	luck  *rand.Rand         // whether frames on its way get lost

	mu    sync.Mutex
	rest  []byte // of a DL/T 645 answer that didn't fit one frame
	last  []byte // its part that was given last
	part  int    // and the number of that
	asked wire645.DI
}

// quantity is what a meter measures: which one, of what part.
type quantity struct {
	what measure
	part int // of an energy or demand: 0 total, 1 to 4 a tariff; else 0 total, 1 to 3 a phase
}

type measure int

// The measures. Energies and demands count on by kind as DL/T 645 numbers them:
// combined, import, export, reactive 1 and 2, and the four quadrants.
const (
	voltage   measure = iota // 0.1 V
	current                  // mA
	power                    // 0.1 W
	reactive                 // 0.1 var
	apparent                 // 0.1 VA
	factor                   // 0.001
	angle                    // 0.1°
	frequency                // 0.01 Hz
	neutral                  // mA
	energy    measure = 100  // 0.01 kWh and so on
	demand    measure = 200  // 0.1 W
)

const kinds = 9

// epoch is when the registers of energy were at zero.
var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is what the meter's own clock shows when it is now.
func (m *Meter) clock(now time.Time) time.Time { return now.Add(m.drift) }

// value is what a meter measures at t; ok is false for what it doesn't have. It
// changes every minute.
func (m *Meter) value(q quantity, t time.Time) (v int64, ok bool) {
	if v, ok := m.fixed[q]; ok {
		return v, true
	}
	n, minute := int64(m.Number), int64(t.Sub(epoch)/time.Minute)
	wave := func(factor int64, mod int64) int64 { return (n*7 + int64(q.part)*31 + minute*factor) % mod }
	switch {
	case q.what >= demand:
		return wave(1, 90000) + 1000, q.what < demand+3 && q.part <= 4
	case q.what >= energy:
		return m.energy(int64(q.what-energy), q.part, minute), q.what < energy+kinds && q.part <= 4
	case q.what == frequency:
		return 4990 + wave(1, 20), q.part == 0
	case q.what == neutral:
		return wave(1, 500), q.part == 0
	}
	if q.part > m.Phases || q.part < 0 {
		return 0, false
	}
	switch q.what {
	case voltage:
		return 2150 + wave(1, 100), q.part > 0
	case current:
		return 500 + wave(3, 9000), q.part > 0
	case angle:
		return wave(1, 900), q.part > 0
	case factor:
		return 900 + wave(1, 99), true
	}
	if q.part > 0 {
		return 2000 + wave(5, 50000), true
	}
	total := int64(0)
	for phase := 1; phase <= m.Phases; phase++ {
		v, _ := m.value(quantity{q.what, phase}, t)
		total += v
	}
	return total, true
}

// energy of a tariff grows with the minutes; the total is that of all four.
func (m *Meter) energy(kind int64, part int, minute int64) int64 {
	if part > 0 {
		return (int64(m.Number)*1000 + kind*37 + max(minute, 0)*(int64(part)+kind%3)/4) % 20_000_000
	}
	total := int64(0)
	for tariff := 1; tariff <= 4; tariff++ {
		total += m.energy(kind, tariff, minute)
	}
	return total
}

// frozenAt is when the nth last daily or monthly freeze was, 1 = the latest.
func (m *Meter) frozenAt(monthly bool, nth int, now time.Time) time.Time {
	t := m.clock(now)
	if monthly {
		return time.Date(t.Year(), t.Month()-time.Month(nth-1), 1, 0, 0, 0, 0, t.Location())
	}
	return time.Date(t.Year(), t.Month(), t.Day()-(nth-1), 0, 0, 0, 0, t.Location())
}

// Answer is what a meter says to a frame at now; nothing to one that isn't for it.
func (m *Meter) Answer(frame []byte, now time.Time) []byte {
	if m.Protocol == wire.DLT698 {
		return m.answer698(frame, now)
	}
	return m.answer645(frame, now)
}

// Digits is the meter's address as people write it.
func (m *Meter) Digits() string { return m.Address.String() }

// Model names the device model that fits the meter.
func (m *Meter) Model() string {
	protocol := "dlt645"
	if m.Protocol == wire.DLT698 {
		protocol = "dlt698"
	}
	return fmt.Sprintf("%s-%dp", protocol, m.Phases)
}

// Drift is how much the meter's clock is ahead of the area's.
func (m *Meter) Drift() time.Duration { return m.drift }

// Truth is what an item of DL/T 645 or DL/T 698.45, by its data identifier or
// object attribute, is worth at now, in units of its last digit.
func (m *Meter) Truth(item string, now time.Time) (int64, bool) {
	var id uint32
	if _, err := fmt.Sscanf(item, "%08X", &id); err != nil {
		return 0, false
	}
	if m.Protocol == wire.DLT698 {
		q, ok := quantity698(id)
		if !ok {
			return 0, false
		}
		return m.value(q, m.clock(now))
	}
	q, _, ok := quantity645(wire645.DI(id))
	if !ok {
		return 0, false
	}
	return m.value(q, m.clock(now))
}
