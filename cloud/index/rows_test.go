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
		b, i, found := r.locate(k)
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
