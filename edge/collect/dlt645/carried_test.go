package dlt645

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// carrier has the meters of a slave at its other end. spoil, if set, makes
// something else of the answers to the nth requests, counted from 0.
type carrier struct {
	slave *slave
	most  int
	limit int // more requests at once are too many; 0 = any number
	spoil func(n int, answers [][]byte) [][]byte
	sizes []int // of what was carried
}

func (c *carrier) Most() int { return c.most }

func (c *carrier) Carry(_ context.Context, content []byte, n int) ([]byte, error) {
	if c.limit > 0 && n > c.limit {
		c.most = n / 2
		return nil, ErrTooMany
	}
	c.sizes = append(c.sizes, n)
	var answers [][]byte
	in := &reader{content}
	for range n {
		var said []byte
		r, err := hear(in, &said)
		if err != nil {
			return nil, err
		}
		c.slave.asked = append(c.slave.asked, r)
		answers = append(answers, c.slave.good(r))
	}
	if c.spoil != nil {
		answers = c.spoil(len(c.sizes)-1, answers)
	}
	if answers == nil {
		return nil, collect.ErrTimeout
	}
	return slices.Concat(answers...), nil
}

// three are items of which a meter has the first and the last.
var three = []schema.Item{item("V", "02010100", "XXX.X"), item("Q", "02040000", "XX.XXXX"), item("F", "02800002", "XX.XX")}

func (c *carrier) poll(t *testing.T, m *Carried, items []schema.Item) (map[string]string, error) {
	t.Helper()
	values := make(map[string]collect.Value)
	err := m.Poll(t.Context(), c, items, values)
	got := make(map[string]string)
	for _, it := range items {
		v, there := values[it.Name]
		switch {
		case !there:
			t.Errorf("nothing is said of %s", it.Name)
		case v.Value != nil:
			text, err := v.Value.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			got[it.Name] = string(text)
		default:
			got[it.Name] = collect.Reason(v.Err)
		}
	}
	return got, err
}

// Whatever comes back, a value is that of its item; what is left out, or can't be
// told apart, is asked for again by itself.
func TestCarried_Answers(t *testing.T) {
	right := map[string]string{"V": "100.1", "Q": "exception", "F": "50.01"}
	for name, c := range map[string]struct {
		spoil func(n int, answers [][]byte) [][]byte
		want  map[string]string
		sizes []int
	}{
		"as asked": {nil, right, []int{3}},
		"another order": {func(n int, a [][]byte) [][]byte {
			slices.Reverse(a)
			return a
		}, right, []int{3, 1}},
		"swapped": {func(n int, a [][]byte) [][]byte {
			if n == 0 {
				a[0], a[1] = a[1], a[0]
			}
			return a
		}, right, []int{3, 1}},
		"the refusal is left out": {func(n int, a [][]byte) [][]byte {
			if n == 0 {
				return [][]byte{a[0], a[2]}
			}
			return a
		}, right, []int{3, 1}},
		"only the refusal comes": {func(n int, a [][]byte) [][]byte {
			if n == 0 {
				return a[1:2]
			}
			return a
		}, right, []int{3, 1, 1, 1}},
		"a stranger's among them": {func(n int, a [][]byte) [][]byte {
			return append([][]byte{says(two, 0x91, append(backwards("02010100"), 0x99, 0x09)...)}, a...)
		}, right, []int{3}},
		"garbled": {func(n int, a [][]byte) [][]byte {
			if n == 0 {
				a[0][len(a[0])-2]++
			}
			return a
		}, right, []int{3, 1, 1}},
		"always left out": {func(n int, a [][]byte) [][]byte {
			if n == 0 {
				return a[1:]
			}
			return [][]byte{{0}}
		}, map[string]string{"V": "garbled", "Q": "garbled", "F": "50.01"}, []int{3, 1, 1}},
		"silence": {func(int, [][]byte) [][]byte { return nil }, map[string]string{"V": "timeout", "Q": "timeout", "F": "timeout"}, []int{3}},
	} {
		m, err := NewCarried(one)
		if err != nil {
			t.Fatal(err)
		}
		by := &carrier{slave: &slave{meters: household()}, most: 13, spoil: c.spoil}
		got, err := by.poll(t, m, three)
		for _, it := range three {
			if got[it.Name] != c.want[it.Name] {
				t.Errorf("%s: %s is %s, want %s", name, it.Name, got[it.Name], c.want[it.Name])
			}
		}
		if err == nil || !slices.Equal(by.sizes, c.sizes) {
			t.Errorf("%s: %v, carried %v, want %v", name, err, by.sizes, c.sizes)
		}
	}
}

// What a meter lacks isn't asked for again for a while; one that doesn't answer is
// left out.
func TestCarried_Remembers(t *testing.T) {
	m, err := NewCarried(one)
	if err != nil {
		t.Fatal(err)
	}
	by := &carrier{slave: &slave{meters: household()}, most: 13}
	for range 3 {
		if got, err := by.poll(t, m, three); !errors.Is(err, collect.ErrException) || got["V"] != "100.1" {
			t.Errorf("%v, %v", got, err)
		}
	}
	if n := by.slave.times("02040000"); n != 1 {
		t.Errorf("asked %d times for what the meter lacks", n)
	}
	by.spoil = func(int, [][]byte) [][]byte { return nil }
	for range 2 {
		if got, err := by.poll(t, m, three); err == nil || got["V"] != "timeout" {
			t.Errorf("%v, %v", got, err)
		}
	}
	if err := m.Absent(time.Now()); !errors.Is(err, collect.ErrSkipped) {
		t.Errorf("%v after two polls without an answer", err)
	}
}

// A way that takes fewer requests gets fewer; answers of several parts are asked
// for to the end.
func TestCarried_Parts(t *testing.T) {
	home := household()
	home[one]["0001FF00"] = "010000000200000003000000040000000500000006000000"
	m, err := NewCarried(one)
	if err != nil {
		t.Fatal(err)
	}
	by := &carrier{slave: &slave{meters: home, chunk: 4}, most: 13, limit: 2}
	items := []schema.Item{item("E", "00010000", "XXXXXX.XX"), item("E2", "00010200", "XXXXXX.XX"), item("E5", "00010500", "XXXXXX.XX"), item("V", "02010100", "XXX.X"), item("F", "02800002", "XX.XX")}
	got, err := by.poll(t, m, items)
	want := map[string]string{"E": "0.01", "E2": "0.03", "E5": "0.06", "V": "100.1", "F": "50.01"}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %s, want %s", name, got[name], want[name])
		}
	}
	if err != nil || slices.Max(by.sizes) > 2 {
		t.Errorf("%v, carried %v", err, by.sizes)
	}
	for _, address := range []string{"", "12", "AAAAAAAAAAAA", "999999999999"} {
		if _, err := NewCarried(address); err == nil {
			t.Errorf("%q is taken for a meter", address)
		}
	}
}
