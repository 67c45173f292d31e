package group_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"gnomon/cloud/store/group"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errClosed = errors.New("closed")

func size(int) int { return 1 }

// Whatever was taken is committed once and in order of each submitter, also what
// was taken as the group ended; nothing that wasn't taken is.
func TestGroup_NothingIsLost(t *testing.T) {
	for range 200 {
		crowd(t)
	}
}

// crowd has eight submit until one of them ends the group.
func crowd(t *testing.T) {
	t.Helper()
	g := group.New(group.Config[[2]int]{Queue: 4, Bytes: 3, Size: func([2]int) int { return 1 }, Closed: errClosed})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	committed := map[int][]int{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.Run(ctx, group.Work[[2]int]{Commit: func(all [][2]int) {
			mu.Lock()
			defer mu.Unlock()
			if len(all) > 3 {
				t.Errorf("%d in a group of 3 bytes", len(all))
			}
			for _, c := range all {
				committed[c[0]] = append(committed[c[0]], c[1])
			}
		}})
	}()
	taken := make([]int, 8)
	var submitters sync.WaitGroup
	for who := range taken {
		submitters.Go(func() {
			for n := 0; ; n++ {
				if err := g.Submit(context.Background(), [2]int{who, n}); err != nil {
					if !errors.Is(err, errClosed) {
						t.Error(err)
					}
					taken[who] = n
					return
				}
				if who == 0 && n == 20 {
					cancel()
				}
			}
		})
	}
	submitters.Wait()
	<-ended
	for who, n := range taken {
		got := committed[who]
		if len(got) != n {
			t.Fatalf("%d were taken of %d, %d committed", n, who, len(got))
		}
		for i, c := range got {
			if c != i {
				t.Fatalf("of %d, %d was committed in place %d", who, c, i)
			}
		}
	}
}

func TestGroup_FullQueueWaits(t *testing.T) {
	g := group.New(group.Config[int]{Queue: 1, Bytes: 1, Size: size, Closed: errClosed})
	if err := g.Submit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Submit(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var got []int
	g.Run(ctx, group.Work[int]{Commit: func(all []int) { got = append(got, all...) }})
	if len(got) != 1 || got[0] != 1 {
		t.Errorf("committed %v", got)
	}
	if err := g.Submit(t.Context(), 3); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

func TestGroup_Ticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := group.New(group.Config[int]{Queue: 1, Bytes: 1, Size: size, Closed: errClosed})
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+time.Second)
		defer cancel()
		ticks := 0
		g.Run(ctx, group.Work[int]{Commit: func([]int) {}, Tick: tick.C, Ticked: func() { ticks++ }})
		if ticks != 3 {
			t.Errorf("%d ticks in three minutes", ticks)
		}
	})
}

// What panics ends the process: nothing more is committed on the way, which might wait
// for ever for what the panic left locked.
func TestGroup_Panic(t *testing.T) {
	g := group.New(group.Config[int]{Queue: 4, Bytes: 1, Size: size, Closed: errClosed})
	for i := range 3 {
		if err := g.Submit(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	commits := 0
	defer func() {
		if p := recover(); p != "broken" || commits != 1 {
			t.Errorf("%v after %d commits", p, commits)
		}
	}()
	g.Run(t.Context(), group.Work[int]{Commit: func([]int) {
		commits++
		panic("broken")
	}})
}
