package replicas

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/cloud/store/redis/redistest"
)

// A replica is killed in the middle of traffic and comes back: the others carry
// on, its nodes go to them, and nothing acknowledged is lost.
func TestReplicaKilled(t *testing.T) {
	t.Parallel()
	all := start(t, 3, redistest.Start(t).URL("g"))
	f := launch(t, all)
	for range 2 {
		all[1].proc.Kill()
		f.check(time.Now())
		f.traffic(300)
		all[1].again()
		all[1].ready()
		f.traffic(300)
	}
	f.check(time.Now())
	f.converge()
}

// Redis is killed in the middle of traffic and started again: what was
// acknowledged was synced.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := launch(t, start(t, 3, server.URL("g")))
	for range 2 {
		server.Kill()
		killed := time.Now()
		server.Again()
		f.check(killed)
		f.traffic(300)
	}
	f.converge()
}

// A master of a Redis Cluster is killed: its replica takes over, the clouds go
// on by themselves. Replication is asynchronous, so only what was acknowledged a
// moment before is sure to be there.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	f := launch(t, start(t, 3, cluster.URL("g")))
	dead := cluster.Masters()[0]
	dead.Kill()
	killed := time.Now()
	cluster.AwaitMasters(3, dead)
	f.traffic(300)
	f.check(killed.Add(-time.Second))
	dead.Again()
	f.traffic(300)
	f.converge()
}

// One fault after the other, in one deployment: a replica of the cloud, a master
// of the Redis Cluster, which comes back as a replica.
func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	all := start(t, 3, cluster.URL("g"))
	f := launch(t, all)
	stage := time.Now()
	over := func(what string) {
		t.Logf("%s: traffic goes on after %v", what, time.Since(stage).Round(time.Millisecond))
		stage = time.Now()
	}
	all[1].proc.Kill()
	f.traffic(300)
	over("a replica killed")
	all[1].again()
	all[1].ready()
	dead := cluster.Masters()[0]
	stage = time.Now()
	dead.Kill()
	cluster.AwaitMasters(3, dead)
	f.traffic(300)
	over("a master killed")
	dead.Again()
	f.traffic(300)
	f.converge()
}

// Redis hangs, without closing a connection, and goes on.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := launch(t, start(t, 2, server.URL("g")+"&read_timeout=500ms&dial_timeout=500ms"))
	server.Pause()
	hung := time.Now()
	time.Sleep(2 * time.Second) // longer than the clouds wait for an answer
	server.Resume()
	f.traffic(300)
	f.check(hung)
	f.converge()
}

// reshardSlots is how many slots are moved: some seconds' work.
const reshardSlots = 1000

// Slots are moved between the masters of a Redis Cluster in the middle of
// traffic, as operators do it, there and back: nothing
// acknowledged is lost, and all nodes converge.
func TestReshard(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	all := start(t, 3, cluster.URL("g"))
	f := launch(t, all)
	stop := counting(t, all)
	masters := cluster.Masters()
	for _, move := range [][2]*redistest.Server{{masters[0], masters[1]}, {masters[1], masters[0]}} {
		began, before, failed := time.Now(), f.acks.Load(), f.fails.Load()
		if err := cluster.Reshard(move[0], move[1], reshardSlots); err != nil {
			t.Fatal(err)
		}
		if f.acks.Load() == before {
			t.Error("nothing was acknowledged while slots moved")
		}
		t.Logf("%d slots moved in %v; meanwhile %d writes acknowledged, %d failed",
			reshardSlots, time.Since(began).Round(time.Millisecond), f.acks.Load()-before, f.fails.Load()-failed)
		f.check(time.Now())
		f.traffic(300)
	}
	cluster.AwaitSlots()
	stop()
	f.converge()
}

// counting has clients of all replicas change a few shadows until the function
// that it returns is called, which checks that every version was given once.
func counting(t *testing.T, all []*replica) (stop func()) {
	const shadows = 10
	var done atomic.Bool
	var group sync.WaitGroup
	var mu sync.Mutex
	given := make(map[string]int)
	var highest [shadows]uint64
	acknowledged, failed := 0, 0
	for i, r := range all {
		group.Go(func() {
			for n := i; !done.Load(); n++ {
				c := n % shadows
				a, err := r.api.UpdateShadow(context.Background(), fmt.Sprint("counted-", c), "", fmt.Appendf(nil, `{"state":{"desired":{"r%d":%d}}}`, i, n))
				if err != nil {
					time.Sleep(5 * time.Millisecond)
				}
				mu.Lock()
				if err != nil {
					failed++
				} else {
					acknowledged++
					given[fmt.Sprint(c, "@", a.Version)]++
					highest[c] = max(highest[c], a.Version)
				}
				mu.Unlock()
			}
		})
	}
	end := sync.OnceFunc(func() { done.Store(true); group.Wait() })
	t.Cleanup(end)
	return func() {
		t.Helper()
		end()
		var sum uint64
		for _, v := range highest {
			sum += v
		}
		for version, times := range given {
			if times != 1 {
				t.Errorf("version %s was given %d times", version, times)
			}
		}
		if sum < uint64(acknowledged) || sum > uint64(acknowledged+failed) {
			t.Errorf("%d versions for %d changes and %d failures", sum, acknowledged, failed)
		}
		t.Logf("%d versions of %d shadows, each given once; %d failures", sum, shadows, failed)
	}
}
