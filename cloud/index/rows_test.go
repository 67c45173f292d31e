package index

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gnomon/cloud/store"
)

// A row is found where it is, whatever was remembered of where it was.
func TestRows_Locate(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var r rows
	there := map[store.Key]bool{}
	for range 200_000 {
		k := store.Key{Thing: fmt.Sprintf("thing-%05d", random.IntN(20_000))}
		at := r.locate(k)
		b, i, found := at.b, at.i, at.found
		if wantB, wantI, want := r.find(k); b != wantB || i != wantI || found != want {
			t.Fatalf("%v located at %d, %d (%t), is at %d, %d (%t)", k, b, i, found, wantB, wantI, want)
		}
		if found != there[k] {
			t.Fatalf("%v found: %t", k, found)
		}
		switch {
		case !found:
			r.insert(b, i, thingNamed(k.Thing)).shadow = none
			there[k] = true
		case random.IntN(4) == 0:
			r.remove(b, i)
			delete(there, k)
		}
	}
	if r.count != len(there) || r.count < hintsFrom || len(r.hints) < 2*r.count {
		t.Errorf("%d rows, %d hints; %d are there", r.count, len(r.hints), len(there))
	}
}

// What is guessed for many at once is right, and most is.
func TestRows_Guess(t *testing.T) {
	var r rows
	var all []facts
	for i := range 3 * hintsFrom {
		k := store.Key{Thing: fmt.Sprintf("thing-%05d", i*7919%(3*hintsFrom))}
		at := r.locate(k)
		r.insert(at.b, at.i, thingNamed(k.Thing)).shadow = none
		all = append(all, facts{key: k})
	}
	for round := range 2 {
		guessed := 0
		for part := all; len(part) > 0; part = part[min(lockRows, len(part)):] {
			var places [lockRows]place
			some := part[:min(lockRows, len(part))]
			r.guess(some, places[:len(some)])
			for n, f := range some {
				if at := r.locate(f.key); places[n].found && at != places[n] {
					t.Fatalf("%v guessed at %v, is at %v", f.key, places[n], at)
				}
				if places[n].found {
					guessed++
				}
			}
		}
		if round == 1 && guessed < len(all)/2 {
			t.Errorf("%d of %d guessed", guessed, len(all))
		}
	}
}
