package medium

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestTurn_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var line Turn
		if err := line.Take(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		var order []string
		var waiting sync.WaitGroup
		gone, cancel := context.WithCancel(t.Context())
		for _, w := range []struct {
			name     string
			priority int
			ctx      context.Context
		}{{"a5", 5, t.Context()}, {"b9", 9, t.Context()}, {"c1", 1, gone}, {"d5", 5, t.Context()}, {"e1", 1, t.Context()}} {
			waiting.Go(func() {
				if err := line.Take(w.ctx, w.priority); err != nil {
					return
				}
				order = append(order, w.name) // whoever has the turn is alone
				line.Give()
			})
			synctest.Wait() // they come in this order
		}
		if having, waiting := line.Load(); having != 1 || waiting != 5 {
			t.Errorf("%d have the turn, %d wait", having, waiting)
		}
		cancel()
		synctest.Wait()
		line.Give()
		waiting.Wait()
		if want := []string{"e1", "a5", "d5", "b9"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if line.taken != 0 || len(line.waiting) != 0 {
			t.Errorf("left %+v", &line)
		}
	})
}

// Whoever gives up waiting in the moment it would be next passes the turn on.
func TestTurn_NeverLost(t *testing.T) {
	var line Turn
	var holders, workers sync.WaitGroup
	for i := range 8 {
		workers.Go(func() {
			for range 500 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*20*time.Microsecond)
				if line.Take(ctx, i%3) == nil {
					holders.Add(1)
					line.Give()
					holders.Done()
				}
				cancel()
			}
		})
	}
	workers.Wait()
	holders.Wait()
	if err := line.Take(t.Context(), 1); err != nil || len(line.waiting) != 0 {
		t.Errorf("%v, waiting %d", err, len(line.waiting))
	}
}

// With several places as many have the turn at once; fewer places hold from the
// next one on.
func TestTurn_Places(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var line Turn
		line.SetPlaces(3)
		inside, most := 0, 0
		var mu sync.Mutex
		enter := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			inside += by
			most = max(most, inside)
		}
		at := func(want int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if inside != want {
				t.Errorf("%d at once, want %d", inside, want)
			}
		}
		var workers sync.WaitGroup
		for range 30 {
			workers.Go(func() {
				if line.Take(t.Context(), 5) != nil {
					return
				}
				enter(1)
				time.Sleep(time.Second)
				enter(-1)
				line.Give()
			})
		}
		synctest.Wait()
		at(3)
		line.SetPlaces(1)
		time.Sleep(1500 * time.Millisecond)
		at(1)
		line.SetPlaces(10)
		synctest.Wait()
		at(10)
		workers.Wait()
		if most != 10 || line.taken != 0 {
			t.Errorf("%d at the most, %d left", most, line.taken)
		}
	})
}

// Whatever others want, nobody waits longer than its priority is worth, and nobody
// of a class behind goes before.
func TestTurn_NobodyStarves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var line Turn
		line.taken = 1 // somebody has it
		type guest struct {
			priority, behind, since int
			ready                   chan struct{}
		}
		var all []guest
		turns := 0
		priorities := []int{1, 2, 5, 9}
		mixed := rapid.Bool().Draw(rt, "classes")
		if mixed {
			priorities = append(priorities, 0, 10, 14, 18)
		}
		for range rapid.IntRange(50, 600).Draw(rt, "steps") {
			if rapid.IntRange(0, 9).Draw(rt, "come") < 6 {
				g := guest{priority: rapid.SampledFrom(priorities).Draw(rt, "priority"), behind: len(all), since: turns, ready: make(chan struct{})}
				line.waiting = append(line.waiting, waiter{priority: g.priority, ready: g.ready})
				all = append(all, g)
				continue
			}
			if len(all) == 0 {
				continue
			}
			line.pass()
			turns++
			next := slices.IndexFunc(all, func(g guest) bool {
				select {
				case <-g.ready:
					return true
				default:
					return false
				}
			})
			got := all[next]
			all = slices.Delete(all, next, next+1)
			class := func(p int) int { return (p + classSize - 1) / classSize }
			for _, g := range all {
				if class(g.priority) < class(got.priority) {
					rt.Fatalf("%d goes before %d", got.priority, g.priority)
				}
			}
			if bound := agingTurns*(got.priority-1) + got.behind + 1; !mixed && turns-got.since > bound {
				rt.Fatalf("%d waited for %d turns, at most %d", got.priority, turns-got.since, bound)
			}
		}
	})
}
