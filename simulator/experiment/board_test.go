package experiment

import (
	"slices"
	"testing"
	"time"

	"gnomon/schema"
	"gnomon/simulator/cloudapi"
)

// at is a moment, in milliseconds after the test's beginning of time.
func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }

func TestBoardTimesConvergence(t *testing.T) {
	a := target{"n1", "sim"}
	for _, tc := range []struct {
		name  string
		story func(*board)
		left  int
		want  []time.Duration
	}{
		{"written, not seen", func(b *board) { b.wrote(a, 5, at(10)) }, 1, nil},
		{"seen after the answer", func(b *board) { b.wrote(a, 5, at(10)); b.saw(a, 5, at(70), false) }, 0, []time.Duration{60 * time.Millisecond}},
		{"seen before the answer", func(b *board) { b.saw(a, 5, at(9), false); b.wrote(a, 5, at(10)) }, 0, []time.Duration{0}},
		{"an older version seen", func(b *board) { b.wrote(a, 5, at(10)); b.saw(a, 4, at(70), false) }, 1, nil},
		{"a later version seen", func(b *board) { b.wrote(a, 5, at(10)); b.saw(a, 6, at(30), false) }, 0, []time.Duration{20 * time.Millisecond}},
		{"seen twice, the first counts", func(b *board) {
			b.wrote(a, 5, at(10))
			b.saw(a, 5, at(20), false)
			b.saw(a, 5, at(90), false)
		}, 0, []time.Duration{10 * time.Millisecond}},
		{"of somebody else", func(b *board) { b.wrote(a, 5, at(10)); b.saw(target{"n2", "sim"}, 5, at(20), false) }, 1, nil},
		{"a second round", func(b *board) {
			b.wrote(a, 5, at(10))
			b.saw(a, 5, at(20), false)
			b.begin()
			b.wrote(a, 7, at(100))
			b.saw(a, 5, at(110), false)
			b.saw(a, 7, at(130), false)
		}, 0, []time.Duration{30 * time.Millisecond}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBoard([]target{a})
			b.begin()
			tc.story(b)
			got, polled := b.results(nil)
			if left, _ := b.left(); left != tc.left || !slices.Equal(got, tc.want) || polled != 0 {
				left, _ := b.left()
				t.Errorf("left %d, times %v, polled %d; want %d, %v, 0", left, got, polled, tc.left, tc.want)
			}
		})
	}
}

func TestBoardReadsOnlyConvergedApplications(t *testing.T) {
	app := func(shadow string) (string, bool) {
		kind, name := schema.KindOf(shadow)
		return name, kind == schema.KindApplication
	}
	a := target{"n1", "sim"}
	b := newBoard([]target{a})
	b.begin()
	b.wrote(a, 5, at(10))
	for _, e := range []cloudapi.Event{
		{Thing: "n1", Shadow: "", DesiredVersion: 5, Converged: true},
		{Thing: "n1", Shadow: "collect:sim", DesiredVersion: 5, Converged: true},
		{Thing: "n1", Shadow: "app:sim", DesiredVersion: 5, Converged: false},
		{Thing: "n1", Shadow: "app:other", DesiredVersion: 5, Converged: true},
	} {
		b.event(e, app)
		if left, _ := b.left(); left != 1 {
			t.Errorf("%+v counted", e)
		}
	}
	b.event(cloudapi.Event{Thing: "n1", Shadow: "app:sim", DesiredVersion: 5, Converged: true}, app)
	if left, _ := b.left(); left != 0 {
		t.Error("the right event did not count")
	}
}
