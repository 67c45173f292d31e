package station

import (
	"encoding/binary"
	"time"

	wire645 "gnomon/edge/collect/dlt645/wire"
)

// recordDays is how long meters keep what they record.
const recordDays = 10

// recorded returns the times of the records between two, both included, by the
// meter's own clock: those that it has had time for and hasn't forgotten.
func (m *Meter) recorded(from, to, now time.Time) (all []time.Time) {
	clock := m.clock(now)
	if oldest := clock.AddDate(0, 0, -recordDays); from.Before(oldest) {
		from = oldest
	}
	if to.After(clock) {
		to = clock
	}
	first := from.Truncate(m.every)
	if first.Before(from) {
		first = first.Add(m.every)
	}
	for t := first; !t.After(to); t = t.Add(m.every) {
		all = append(all, t)
	}
	return all
}

// latest returns the times of the latest records, the oldest first.
func (m *Meter) latest(n int, now time.Time) []time.Time {
	last := m.clock(now).Truncate(m.every)
	return m.recorded(last.Add(-time.Duration(n-1)*m.every), last, now)
}

// class645 are the values of a class of load records.
var class645 = [][]struct {
	q    quantity
	size int
}{
	{{quantity{voltage, 1}, 2}, {quantity{voltage, 2}, 2}, {quantity{voltage, 3}, 2}, {quantity{current, 1}, 3}, {quantity{current, 2}, 3}, {quantity{current, 3}, 3}, {quantity{frequency, 0}, 2}},
	{{quantity{power, 0}, 3}, {quantity{power, 1}, 3}, {quantity{power, 2}, 3}, {quantity{power, 3}, 3}, {quantity{reactive, 0}, 3}, {quantity{reactive, 1}, 3}, {quantity{reactive, 2}, 3}, {quantity{reactive, 3}, 3}},
	{{quantity{factor, 0}, 2}, {quantity{factor, 1}, 2}, {quantity{factor, 2}, 2}, {quantity{factor, 3}, 2}},
	{{quantity{energy + 1, 0}, 4}, {quantity{energy + 2, 0}, 4}, {quantity{energy + 3, 0}, 4}, {quantity{energy + 4, 0}, 4}},
	{{quantity{energy + 5, 0}, 4}, {quantity{energy + 6, 0}, 4}, {quantity{energy + 7, 0}, 4}, {quantity{energy + 8, 0}, 4}},
	{{quantity{demand + 1, 0}, 3}, {quantity{demand + 2, 0}, 3}},
}

// load645 answers for load records (DI3 06): of a class, or of all as 00; the
// earliest, from a time on, or the latest. What is no such request, and records
// that there are none of, are nothing.
func (m *Meter) load645(di wire645.DI, asked []byte, now time.Time) []byte {
	class, mark, how := int(di>>16&0xff), byte(di>>8), byte(di)
	if class > len(class645) || mark != 0 || len(asked) < 1 || asked[0]>>4 > 9 || asked[0]&15 > 9 {
		return nil
	}
	n := int(asked[0]>>4)*10 + int(asked[0]&15)
	var times []time.Time
	switch {
	case how == 0 && len(asked) == 1:
		times = m.recorded(time.Time{}, now.Add(time.Hour*24), now)
	case how == 1 && len(asked) == 1+len(wire645.Minutes):
		s, err := wire645.Minutes.Decode(asked[1:])
		if err != nil {
			return nil
		}
		times = m.recorded(time.Date(s.Year, time.Month(s.Month), int(s.Day), int(s.Hour), int(s.Minute), 0, 0, time.UTC), now.Add(time.Hour*24), now)
	case how == 2 && len(asked) == 1:
		times = m.latest(n, now)
	}
	if len(times) == 0 {
		return nil
	}
	out := di.Append(nil)
	for _, t := range times[:min(n, len(times))] {
		out = m.block(out, class, t)
	}
	return out
}

// block appends one load record.
func (m *Meter) block(out []byte, class int, t time.Time) []byte {
	r := wire645.Record{At: wire645.Stamp{Year: t.Year(), Month: uint8(t.Month()), Day: uint8(t.Day()), Hour: uint8(t.Hour()), Minute: uint8(t.Minute())}}
	for i, values := range class645 {
		if class > 0 && i != class-1 {
			continue
		}
		for _, v := range values {
			n, ok := m.value(v.q, t)
			part := bcd(n, v.size)
			if !ok { // a phase that the meter hasn't got
				for b := range part {
					part[b] = 0xff
				}
			}
			r.Classes[i] = append(r.Classes[i], part...)
		}
	}
	out, _ = r.Append(out) // the years of these meters are within the century
	return out
}

// maxAnswer645 is how much goes into one answer of a DL/T 645 meter; the rest is
// asked for with 12H.
const maxAnswer645 = 200

// part645 gives the first part of an answer, and keeps the rest.
func (m *Meter) part645(data []byte) (part []byte, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rest, m.part = nil, 0
	if len(data) <= maxAnswer645 {
		return data, false
	}
	m.rest = append([]byte(nil), data...)
	part = m.rest[:maxAnswer645]
	m.rest = m.rest[maxAnswer645:]
	m.asked = wire645.DI(binary.LittleEndian.Uint32(data))
	return part, true
}

// rest645 answers 12H: the next part of what was asked for last, with its number.
func (m *Meter) rest645(di wire645.DI, number []byte) (part []byte, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rest) == 0 && m.part == 0 || di != m.asked || len(number) != 1 {
		return nil, false
	}
	switch int(number[0]) {
	case m.part + 1:
		n := min(len(m.rest), maxAnswer645-5)
		m.last, m.rest = m.rest[:n], m.rest[n:]
		m.part++
	case m.part: // the same again
	default:
		return nil, false
	}
	return append(append(di.Append(nil), m.last...), byte(m.part)), len(m.rest) > 0
}

// rows698 reads how rows are chosen, and returns their times by the meter's own
// clock and what of p follows. ok is false for what can't be read.
func (m *Meter) rows698(record uint32, p []byte, now time.Time) (times []time.Time, rest []byte, ok bool) {
	if len(p) < 1 {
		return nil, nil, false
	}
	switch method, p := p[0], p[1:]; method {
	case 1: // a time
		if len(p) < 4+8 || binary.BigEndian.Uint32(p) != oadTime {
			return nil, nil, false
		}
		t, fine := time698(p[4:])
		return m.within698(record, t, t, 0, now), p[4+8:], fine
	case 2: // from one time to another, in steps
		if len(p) < 4+8+8+4 || binary.BigEndian.Uint32(p) != oadTime || p[20] != tagInterval {
			return nil, nil, false
		}
		from, fine := time698(p[4:])
		to, fine2 := time698(p[12:])
		units := []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}
		if !fine || !fine2 || int(p[21]) >= len(units) {
			return nil, nil, false
		}
		step := units[p[21]] * time.Duration(binary.BigEndian.Uint16(p[22:]))
		return m.within698(record, from, to, step, now), p[24:], true
	case 9: // the nth last
		if len(p) < 1 || p[0] == 0 {
			return nil, nil, false
		}
		if record == oadMinute {
			if all := m.latest(int(p[0]), now); len(all) == int(p[0]) {
				times = all[:1]
			}
			return times, p[1:], true
		}
		return []time.Time{m.frozenAt(record == oadMonth, int(p[0]), now)}, p[1:], true
	}
	return nil, nil, false
}

// within698 are the records between two times, those of a whole number of steps
// after the first alone.
func (m *Meter) within698(record uint32, from, to time.Time, step time.Duration, now time.Time) (some []time.Time) {
	for _, t := range m.recorded(from, to, now) {
		if record == oadDay && (t.Hour() != 0 || t.Minute() != 0) || step > 0 && t.Sub(from)%step != 0 {
			continue
		}
		some = append(some, t)
	}
	return some
}

// time698 reads a date_time_s.
func time698(p []byte) (time.Time, bool) {
	if p[0] != tagDateTimeS {
		return time.Time{}, false
	}
	return time.Date(int(binary.BigEndian.Uint16(p[1:])), time.Month(p[3]), int(p[4]), int(p[5]), int(p[6]), int(p[7]), 0, time.UTC), true
}
