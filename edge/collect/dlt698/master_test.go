package dlt698

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// address is that of the meter most tests read.
const address = "000000000010"

// attributes names items by what they are.
func attributes(record string, oads ...string) (items []schema.Item) {
	for _, o := range oads {
		it := schema.Item{Name: "a" + o + record, OAD: o, Record: record, Scale: 1}
		if record != "" {
			it.Nth = 1
		}
		items = append(items, it)
	}
	return items
}

// several are items that make three requests: a list, and columns of two records.
var several = slices.Concat(
	attributes("", "20000201", "20000202", "20010201", "00100201", "20040201"),
	attributes("50040200", "00100201", "00200201"), attributes("50060200", "00100201"))

// master polls a medium with a driver and checks every value it gets.
type master struct {
	t      *testing.T
	driver *Driver
	server *server
	source schema.Source
}

func newMaster(t *testing.T, kind schema.SourceKind, s *server) *master {
	o := attach(t, kind, s)
	m := &master{t: t, driver: New(), server: s, source: o.source}
	t.Cleanup(func() { m.driver.Release(m.source) })
	return m
}

// poll reads items of a meter once. ok: all of them were read. Whatever was read
// is of this meter, this attribute, and this poll.
func (m *master) poll(meter string, items []schema.Item) (result collect.Result, ok bool, err error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	heard := m.server.count()
	number := uint64(1)
	if m.server.meters != nil {
		number = m.server.meters[meter]
	}
	result, err = m.driver.Poll(ctx, collect.Request{Source: m.source, Meter: schema.Meter{ID: "m", Address: meter}, Items: items})
	ok = err == nil
	for _, it := range items {
		v, has := result.Values[it.Name]
		switch {
		case !has || (v.Value == nil) == (v.Err == nil) || v.At.IsZero():
			m.t.Errorf("%s: neither value nor reason: %+v", it.Name, v)
		case v.Value == nil:
			ok = false
		default:
			if err := check(v.Value.Text(), number, heard, it); err != nil {
				m.t.Error(err)
			}
		}
	}
	return result, ok, err
}

func check(text string, meter uint64, heard int, it schema.Item) error {
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%s = %s: %w", it.Name, text, err)
	}
	of, nth, oad := apart(v)
	if want := attribute(it.OAD); of != meter || oad != uint32(want) || nth < heard {
		return fmt.Errorf("%s is the value of %08X of meter %d asked with request %d; asked were %s of %d, from request %d on", it.Name, oad, of, nth, want, meter, heard)
	}
	return nil
}

// recover polls until all items are read twice in a row: who comes back and
// goes again has not come back.
func (m *master) recover(meter string, items []schema.Item) {
	m.t.Helper()
	deadline := time.Now().Add(30 * time.Second) // a meter may be left out for a while
	for row := 0; row < 2; {
		_, ok, err := m.poll(meter, items)
		if ok {
			row++
			continue
		}
		row = 0
		if time.Now().After(deadline) {
			m.t.Fatalf("meter %s does not come back: %v", meter, err)
		}
		<-time.After(patience / 4)
	}
}

func TestPoll_Good(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := &server{meters: map[string]uint64{address: 1, "000000000011": 2}, acd: true}
			m := newMaster(t, kind, s)
			for meter := range s.meters {
				result, ok, err := m.poll(meter, several)
				if !ok || result.Frames != 3 {
					t.Errorf("%d frames, %v", result.Frames, err)
				}
			}
		})
	}
}

// Any address finds the only meter.
func TestPoll_Wildcard(t *testing.T) {
	t.Parallel()
	m := newMaster(t, schema.SourceDLT698TCP, &server{meters: map[string]uint64{address: 1}})
	result, err := m.driver.Poll(t.Context(), collect.Request{Source: m.source, Meter: schema.Meter{ID: "m", Address: "AAAAAAAAAAAA"}, Items: several})
	if err != nil || len(result.Values) != len(several) {
		t.Error(err)
	}
}

func TestPoll_NoAddress(t *testing.T) {
	t.Parallel()
	result, err := New().Poll(t.Context(), collect.Request{Meter: schema.Meter{ID: "m", Address: "x"}, Items: several})
	if err == nil || len(result.Values) != len(several) {
		t.Errorf("%+v, %v", result, err)
	}
}

// Long lists go in frames that the meter takes.
func TestPoll_FitsFrames(t *testing.T) {
	t.Parallel()
	s := new(server)
	m := newMaster(t, schema.SourceDLT698TCP, s)
	m.source.MaxFrame = 128
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("2000%02X%02X", i/10+2, i%10+1))
	}
	longest := 0
	s.fault = func(_ int, _ question, good []byte) []reply {
		longest = max(longest, len(good))
		return []reply{{0, good}}
	}
	result, ok, err := m.poll(address, attributes("", many...))
	if !ok || result.Frames < 10 || result.Frames > 20 {
		t.Errorf("%d frames, %v", result.Frames, err)
	}
	if longest > 128 {
		t.Errorf("an answer of %d bytes", longest)
	}
}

func TestPoll_Refusals(t *testing.T) {
	t.Parallel()
	s := &server{refuse: map[uint32]byte{0x20000202: 6, 0x50060200: 9}}
	m := newMaster(t, schema.SourceDLT698TCP, s)
	result, _, err := m.poll(address, several)
	for _, it := range several {
		v := result.Values[it.Name]
		var refused *Refused
		if bad := it.OAD == "20000202" || it.Record == "50060200"; bad != errors.As(v.Err, &refused) || bad && !errors.Is(v.Err, collect.ErrException) {
			t.Errorf("%s: %+v", it.Name, v)
		}
	}
	if result.Frames != 3 || err == nil || err.Error() != "20000202: object does not exist (6)" {
		t.Errorf("%d frames, %v", result.Frames, err)
	}
}

func TestPoll_NoRecord(t *testing.T) {
	t.Parallel()
	m := newMaster(t, schema.SourceDLT698TCP, &server{noRecords: true})
	if result, _, err := m.poll(address, several); !errors.Is(err, errNoRecord) || result.Frames != 3 {
		t.Errorf("%d frames, %v", result.Frames, err)
	}
}

// A meter that takes short lists only is asked with those from then on.
func TestPoll_ShortLists(t *testing.T) {
	t.Parallel()
	m := newMaster(t, schema.SourceDLT698TCP, &server{listMax: 2})
	items := several[:5]
	for i, frames := range []int{5, 3, 3} { // 5 refused, 3 refused, 2, 1 and 2; then 2, 2, 1
		result, ok, err := m.poll(address, items)
		if !ok || result.Frames != frames {
			t.Errorf("poll %d: %d frames, want %d, %v", i, result.Frames, frames, err)
		}
	}
}

// One attribute that the meter can't bear costs the others nothing but that they
// are asked for without it.
func TestPoll_PoisonousAttribute(t *testing.T) {
	t.Parallel()
	m := newMaster(t, schema.SourceDLT698TCP, &server{poison: 0x20000202})
	items := several[:5]
	var last int
	for range 4 {
		result, _, err := m.poll(address, items)
		for _, it := range items {
			if bad := it.OAD == "20000202"; bad != (result.Values[it.Name].Err != nil) {
				t.Errorf("%s: %+v", it.Name, result.Values[it.Name])
			}
		}
		var refused *ServiceError
		if !errors.As(err, &refused) {
			t.Error(err)
		}
		last = result.Frames
	}
	if last != 2 {
		t.Errorf("%d frames in the end", last)
	}
}

func TestPoll_Parts(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		for _, size := range []int{1, 2, 4} {
			t.Run(fmt.Sprint(kind, size), func(t *testing.T) {
				t.Parallel()
				m := newMaster(t, kind, &server{partSize: size})
				result, ok, err := m.poll(address, several[:5])
				if want := (5 + size - 1) / size; !ok || result.Frames != want {
					t.Errorf("%d frames, want %d, %v", result.Frames, want, err)
				}
			})
		}
	}
}

// A meter that never comes to the last part is left.
func TestPoll_EndlessParts(t *testing.T) {
	t.Parallel()
	s := &server{partSize: 1}
	m := newMaster(t, schema.SourceDLT698TCP, s)
	s.fault = func(n int, q question, _ []byte) []reply {
		apdu := []byte{0x85, 5, q.data[2], 0, byte(n >> 8), byte(n), 1, 0, 0, 0}
		return []reply{{0, packet(0xc3, q.address, q.client, apdu)}}
	}
	result, _, err := m.poll(address, several[:5])
	if !errors.Is(err, collect.ErrGarbled) || result.Frames > maxParts+2 {
		t.Errorf("%d frames, %v", result.Frames, err)
	}
}

func TestPoll_Fragments(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		for _, size := range []int{5, 20, 60} {
			t.Run(fmt.Sprint(kind, size), func(t *testing.T) {
				t.Parallel()
				s := &server{frameSize: size}
				m := newMaster(t, kind, s)
				result, ok, err := m.poll(address, several)
				s.mu.Lock()
				defer s.mu.Unlock()
				if !ok || result.Frames != 3 || s.confirmed < 2 {
					t.Errorf("%d frames, %d fragments confirmed, %v", result.Frames, s.confirmed, err)
				}
			})
		}
	}
}

func TestPoll_ScalerUnit(t *testing.T) {
	t.Parallel()
	s := &server{constant: map[uint32][]byte{
		0x20000201: {0x12, 0x08, 0xfc}, 0x20000300: {0x59, 0xff, 38}, // 2300 × 10^-1 V
		0x20040201: {0x05, 0xff, 0xff, 0xfc, 0x18}, 0x20040300: {0x02, 2, 0x0f, 0xff, 0x16, 27}, // -1000 × 10^-1 W, as a structure
		0x20010201: {0x05, 0, 0, 0x13, 0x88}, 0x20010300: {0x11, 3}, // no Scaler_Unit
	}}
	m := newMaster(t, schema.SourceDLT698TCP, s)
	items := []schema.Item{
		{Name: "V", OAD: "20000201", Scaler: "20000300", Scale: 1}, {Name: "P", OAD: "20040201", Scaler: "20040300", Scale: 0.001},
		{Name: "I", OAD: "20010201", Scaler: "20010300", Scale: 1}, {Name: "VFixed", OAD: "20000201", Scale: 0.1},
	}
	request := collect.Request{Source: m.source, Meter: schema.Meter{ID: "m", Address: address}, Items: items}
	for range 2 {
		result, err := m.driver.Poll(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"V": "230", "P": "-0.1", "VFixed": "230"} {
			if v := result.Values[name]; v.Err != nil || v.Value.Text() != want {
				t.Errorf("%s = %+v, want %s", name, v, want)
			}
		}
		if v := result.Values["I"]; v.Value != nil || !errors.Is(v.Err, collect.ErrNotNumber) {
			t.Errorf("I = %+v", v)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, then := s.asked[0].data[3], s.asked[1].data[3]; first != 6 || then != 4 {
		t.Errorf("%d attributes asked for, then %d: what is known needn't be asked for again", first, then)
	}
}

func TestPoll_StopsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{fault: func(int, question, []byte) []reply { cancel(); return nil }}
	m := newMaster(t, schema.SourceDLT698TCP, s)
	m.source.Tries, m.source.Timeout = 10, schema.Duration(patience)
	result, err := m.driver.Poll(ctx, collect.Request{Source: m.source, Meter: schema.Meter{ID: "m", Address: address}, Items: several})
	if err == nil || result.Frames > 1 {
		t.Errorf("%d frames, %v", result.Frames, err)
	}
}
