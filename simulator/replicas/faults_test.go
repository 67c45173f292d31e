package replicas

import (
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
