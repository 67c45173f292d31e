package dlt645

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// crowd is meters that all answer a call: on top of each other, if together.
func crowd(addresses ...string) func(r request, nth int) []reply {
	return func(r request, _ int) []reply {
		var answers [][]byte
		for _, a := range addresses {
			if r.function == 0x13 && strings.HasSuffix(a, strings.TrimLeft(r.address, "A")) {
				answers = append(answers, says(a, 0x93, backwards(a)...))
			}
		}
		if len(answers) == 0 {
			return nil
		}
		mixed := slices.Clone(answers[0])
		for _, a := range answers[1:] {
			for i := range mixed {
				mixed[i] &= a[i] // who says 0 wins
			}
		}
		return []reply{{100 * time.Millisecond, mixed}}
	}
}

func (m *master) scan(ctx context.Context) ([]string, error) {
	found, err := m.driver.Scan(ctx, m.source)
	var text []string
	for _, a := range found {
		text = append(text, a.String())
	}
	return text, err
}

func TestScan(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(r request, nth int) []reply
		want   []string
		most   int // calls
	}{
		"nobody":          {crowd(), nil, 1},
		"one":             {crowd(one), []string{one}, 1},
		"two":             {crowd(one, two), []string{one, two}, 101},
		"three of an end": {crowd(one, two, "990000000161"), []string{one, two, "990000000161"}, 601},
		"in turn": {func(r request, _ int) []reply { // who is not on top of another is heard at once
			return slices.Concat(crowd(one)(r, 0), []reply{{600 * time.Millisecond, nil}}, later(crowd(two)(r, 0)))
		}, []string{one, two}, 101},
		"glitch": {func(r request, _ int) []reply {
			return []reply{{0, append([]byte{0, 0xff}, crowd(one)(r, 0)[0].frame...)}}
		}, []string{one}, 1},
		"refusing": {func(request, int) []reply { return []reply{{0, says(one, 0xd3, 2)}} }, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				line := &wireline{answer: c.answer}
				got, err := on(t, line).scan(t.Context())
				if err != nil || !slices.Equal(got, c.want) || line.heard > c.most {
					t.Errorf("%v, %v after %d calls; want %v after %d", got, err, line.heard, c.want, c.most)
				}
			})
		})
	}
}

func later(all []reply) []reply {
	for i := range all {
		all[i].after += 500 * time.Millisecond
	}
	return all
}

// A line that is nothing but collisions is given up on, and so is a scan that is
// stopped.
func TestScan_Bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &wireline{answer: func(r request, _ int) []reply {
			return []reply{{0, slices.Repeat([]byte{0x55}, 18)}}
		}}
		m := on(t, line)
		if got, err := m.scan(t.Context()); len(got) != 0 || !errors.Is(err, collect.ErrGarbled) || line.heard != maxCalls {
			t.Errorf("%v, %v after %d calls", got, err, line.heard)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := m.scan(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped: %v", err)
		}
	})
}

func TestScan_OnMedia(t *testing.T) {
	eachKind(t, func(t *testing.T, kind schema.SourceKind) {
		s := &slave{meters: map[string]map[string]string{one: {}}, echo: true}
		m := newMaster(t, attach(t, kind, s).source)
		if got, err := m.scan(t.Context()); err != nil || !slices.Equal(got, []string{one}) {
			t.Errorf("%v, %v", got, err)
		}
	})
}
