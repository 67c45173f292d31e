package dlt645

import (
	"errors"
	"flag"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/schema"
)

// The tests wait for time limits more than they compute, so many of them run at
// once whatever the number of processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil {
		if err := f.Value.Set("96"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// calm is the time limit where every answer comes at once, and a busy machine is
// not to spoil one; patience where answers are late or don't come.
const (
	calm     = time.Second
	patience = 150 * time.Millisecond
)

const one, two = "000000000161", "171118445100"

// household are two meters that have the same identifiers, and no value in common.
func household() map[string]map[string]string {
	return map[string]map[string]string{
		one: {
			"00000000": "01000080", "00010000": "26000000", "00010100": "11000000", "00010200": "12000000", "0001FF00": "260000001100000012000000",
			"02010100": "0110", "0201FF00": "011002100310", "02030000": "563492", "02800002": "0150", "02060000": "0010",
			"01010000": "5634124510290626", "04000401": "610100000000", "05060101": "9900000077000000",
		},
		two: {
			"00010000": "00200000", "00010100": "00210000", "00010200": "00220000", "0001FF00": "002000000021000000220000",
			"02010100": "0022", "02030000": "FFFFFF", "02800002": "0250",
		},
	}
}

func item(name, di, format string) schema.Item {
	return schema.Item{Name: name, DI: di, Format: format, Scale: 1}
}

func signed(it schema.Item) schema.Item { it.Signed = true; return it }

type master struct {
	t      *testing.T
	driver *Driver
	source schema.Source
}

func newMaster(t *testing.T, s schema.Source) *master {
	m := &master{t, New(), s}
	t.Cleanup(func() { m.driver.Release(s) })
	return m
}

// poll returns the values as text, or the reasons why there are none.
func (m *master) poll(address string, items ...schema.Item) (map[string]string, error) {
	m.t.Helper()
	r, err := m.driver.Poll(m.t.Context(), collect.Request{Source: m.source, Meter: schema.Meter{ID: address, Address: address}, Items: items, Priority: 5})
	out := make(map[string]string, len(items))
	for _, it := range items {
		v, ok := r.Values[it.Name]
		switch {
		case !ok || v.At.IsZero() || (v.Value == nil) == (v.Err == nil):
			m.t.Errorf("%s: %+v", it.Name, v)
		case v.Value != nil:
			out[it.Name] = v.Value.Text()
		default:
			out[it.Name] = collect.Reason(v.Err)
		}
	}
	return out, err
}

func (m *master) want(address string, items []schema.Item, want map[string]string) error {
	m.t.Helper()
	got, err := m.poll(address, items...)
	if !maps.Equal(got, want) {
		m.t.Errorf("%s: %v (%v), want %v", address, got, err, want)
	}
	return err
}

func eachKind(t *testing.T, test func(t *testing.T, kind schema.SourceKind)) {
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

func TestPoll_Values(t *testing.T) {
	eachKind(t, func(t *testing.T, kind schema.SourceKind) {
		s := &slave{meters: household()}
		m := newMaster(t, attach(t, kind, s).source)
		items := []schema.Item{
			signed(item("ECombined", "00000000", "XXXXXX.XX")), item("E", "00010000", "XXXXXX.XX"), item("E1", "00010100", "XXXXXX.XX"), item("E2", "00010200", "XXXXXX.XX"),
			item("V", "02010100", "XXX.X"), signed(item("P", "02030000", "XX.XXXX")), item("F", "02800002", "XX.XX"), signed(item("PF", "02060000", "X.XXX")),
			item("D", "01010000", "XX.XXXX"), item("Frozen", "05060101", "XXXXXX.XX"), item("FrozenT1", "05060101", "XXXXXX.XX"), item("V3", "0201FF00", "XXX.X"),
			item("N", "04000401", "XXXX"),
		}
		items[10].Offset, items[11].Offset = 4, 4
		items[4].Scale = 0.1
		if err := m.want(one, items, map[string]string{
			"ECombined": "-0.01", "E": "0.26", "E1": "0.11", "E2": "0.12", "V": "10.01", "P": "-12.3456", "F": "50.01", "PF": "1", "D": "12.3456",
			"Frozen": "0.99", "FrozenT1": "0.77", "V3": "100.3", "N": "161",
		}); err != nil {
			t.Error(err)
		}
		if s.times("0001FF00") != 1 || s.times("00010000") != 0 || s.times("05060101") != 1 {
			t.Errorf("asked %+v", s.asked)
		}
		if err := m.want(two, items[1:7], map[string]string{"E": "20", "E1": "21", "E2": "22", "V": "22", "P": "no-value", "F": "50.02"}); err != nil {
			t.Error(err)
		}
	})
}

// What a meter refuses is missing with the reason, costs the others nothing, and
// isn't asked for in every cycle.
func TestPoll_Refusals(t *testing.T) {
	t.Parallel()
	s := &slave{meters: household()}
	b := attach(t, schema.SourceDLT645TCP, s)
	b.source.Timeout = schema.Duration(calm) // a refusal costs as much
	m := newMaster(t, b.source)
	items := []schema.Item{item("Q", "02040000", "XX.XXXX"), item("V", "02010100", "XXX.X"), item("Angle", "02070100", "XXX.X"), item("F", "02800002", "XX.XX")}
	want := map[string]string{"Q": "exception", "V": "100.1", "Angle": "exception", "F": "50.01"}
	for range 3 {
		err := m.want(one, items, want)
		var refused *Refusal
		if !errors.As(err, &refused) || refused.DI != 0x02040000 || refused.Word != wire.NoSuchData || !errors.Is(err, wire.NoSuchData) {
			t.Errorf("the refusal is %v", err)
		}
	}
	if s.times("02040000") != 1 || s.times("02070100") != 1 || s.times("02010100") != 3 {
		t.Errorf("asked %+v", s.asked)
	}
}

// A meter without blocks, and one whose block is short, are read singly.
func TestPoll_Blocks(t *testing.T) {
	t.Parallel()
	home := household()
	delete(home[one], "0001FF00")
	home[two]["0001FF00"] = "00200000"
	s := &slave{meters: home}
	m := newMaster(t, attach(t, schema.SourceDLT645TCP, s).source)
	items := []schema.Item{item("E", "00010000", "XXXXXX.XX"), item("E1", "00010100", "XXXXXX.XX"), item("E2", "00010200", "XXXXXX.XX")}
	for range 2 {
		if err := m.want(one, items, map[string]string{"E": "0.26", "E1": "0.11", "E2": "0.12"}); err != nil {
			t.Error(err)
		}
		if err := m.want(two, items, map[string]string{"E": "20", "E1": "21", "E2": "22"}); err != nil {
			t.Error(err)
		}
	}
	if n := s.times("0001FF00"); n != 2 {
		t.Errorf("blocks were asked for %d times, want once of each meter", n)
	}
}

// An answer in several frames is joined, in order and whole.
func TestPoll_FollowUps(t *testing.T) {
	eachKind(t, func(t *testing.T, kind schema.SourceKind) {
		for _, chunk := range []int{1, 3, 4, 11, 12} {
			t.Run(strconv.Itoa(chunk), func(t *testing.T) {
				t.Parallel()
				s := &slave{meters: household(), chunk: chunk}
				m := newMaster(t, attach(t, kind, s).source)
				items := []schema.Item{item("E", "00010000", "XXXXXX.XX"), item("E1", "00010100", "XXXXXX.XX"), item("E2", "00010200", "XXXXXX.XX")}
				if err := m.want(one, items, map[string]string{"E": "0.26", "E1": "0.11", "E2": "0.12"}); err != nil {
					t.Error(err)
				}
				if want := (12 + chunk - 1) / chunk; s.count() != want {
					t.Errorf("%d requests, want %d", s.count(), want)
				}
			})
		}
	})
}

func TestPoll_FollowUpsAreBounded(t *testing.T) {
	t.Parallel()
	s := &slave{meters: household(), chunk: 4}
	s.fault = func(_ int, r request, good []byte) []reply {
		data := append(backwards(r.di), 1, 2, 3, 4)
		if r.function == 0x12 {
			data = append(data, r.sequence)
		}
		return []reply{{0, says(one, r.function|0xa0, data...)}} // for ever
	}
	m := newMaster(t, attach(t, schema.SourceDLT645TCP, s).source)
	err := m.want(one, []schema.Item{item("V", "02010100", "XXX.X")}, map[string]string{"V": "garbled"})
	if !errors.Is(err, collect.ErrGarbled) || s.count() != 1+maxFollowUps {
		t.Errorf("%v after %d requests", err, s.count())
	}
}

// A number that isn't one, and an answer too short, are no values.
func TestPoll_BadValues(t *testing.T) {
	t.Parallel()
	home := household()
	home[one]["02010100"], home[one]["02800002"] = "0A10", "50"
	m := newMaster(t, attach(t, schema.SourceDLT645TCP, &slave{meters: home}).source)
	items := []schema.Item{item("V", "02010100", "XXX.X"), item("F", "02800002", "XX.XX"), item("E", "00010000", "XXXXXX.XX"), item("Bad", "x", "XX"), item("Bad2", "00010000", "X")}
	if err := m.want(one, items, map[string]string{"V": "not-a-number", "F": "not-a-number", "E": "0.26", "Bad": "error", "Bad2": "error"}); err != nil {
		t.Error(err)
	}
	for _, address := range []string{"AAAAAAAAAAAA", "999999999999", "161", ""} {
		if err := m.want(address, items[:1], map[string]string{"V": "error"}); !errors.Is(err, wire.ErrAddress) {
			t.Errorf("address %q: %v", address, err)
		}
	}
}

// All device models for the protocol can be read: each item has a place.
func TestPlace_Models(t *testing.T) {
	for _, name := range schema.ModelNames() {
		model, _ := schema.ModelNamed(name)
		if model.Protocol != schema.DLT645 {
			continue
		}
		for _, it := range model.Items {
			p, err := place(it)
			if err != nil {
				t.Errorf("%s %s: %v", name, it.Name, err)
				continue
			}
			known, ok := wire.Lookup(p.di)
			if !ok || !slices.ContainsFunc(known.Parts, func(k wire.Part) bool { return k.Format == p.format && k.Unit == it.Unit }) {
				t.Errorf("%s %s: %s is %s signed %v %s here, and %+v in the dictionary", name, it.Name, it.DI, p.format, p.format.Signed, it.Unit, known.Parts)
			}
		}
	}
}
