package replicas

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gnomon/cloud/external/mosquittotest"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/shadow/wire"
	"gnomon/simulator/cloudtest"
	"gnomon/simulator/mqtt"
)

// through starts n clouds that serve shadows through one mosquitto: one with a
// directory of its own, or several on a Redis.
func through(t *testing.T, m *mosquittotest.Broker, n int) []*replica {
	t.Helper()
	args := []string{"--broker", m.URL()}
	if n > 1 {
		args = append(args, "--store", redistest.Start(t).URL("g"))
	}
	all := make([]*replica, n)
	for i := range all {
		cfg := cloudtest.Config(t)
		cfg.MQTT, cfg.Args = "", args
		all[i] = run(t, cfg, m.Address())
	}
	for _, r := range all {
		r.ready()
	}
	return all
}

// mosquitto is killed in the middle of traffic and comes back, knowing its
// sessions or not: nothing acknowledged is lost and all nodes converge.
func TestExternal_BrokerKilled(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...string) *mosquittotest.Broker{
		"it remembers": mosquittotest.Start, "it forgets": mosquittotest.StartForgetful,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := start(t)
			f := launch(t, through(t, m, 1))
			for range 3 {
				m.Kill()
				killed := time.Now()
				f.traffic(100) // over HTTP
				m.Again()
				f.check(killed)
				f.traffic(100)
			}
			f.converge()
		})
	}
}

// Replicas behind mosquitto are killed in turn, in the middle of traffic: the
// other one carries on with all nodes, and nothing acknowledged is lost.
func TestExternal_ReplicaKilled(t *testing.T) {
	t.Parallel()
	all := through(t, mosquittotest.Start(t), 2)
	f := launch(t, all)
	for i := range 4 {
		killed := all[i%2]
		killed.proc.Kill()
		f.check(time.Now())
		f.traffic(200)
		killed.again()
		killed.ready()
		f.traffic(200)
	}
	f.converge()
}

// A device sends requests and never sends one again, while the clouds behind
// mosquitto are killed: each is answered with its being accepted, and so
// committed, for what was outstanding comes again.
func TestExternal_RequestsOutstanding(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d clouds", n), func(t *testing.T) {
			t.Parallel()
			all := through(t, mosquittotest.Start(t), n)
			topic := wire.Topic{Thing: "device", Shadow: "s", Op: wire.OpUpdate}
			c := connect(t, all[0], "device", topic.Accepted())
			defer c.Close()
			const kills, each = 6, 150
			for i := range kills {
				r := all[i%n]
				for j := range each {
					if j == each/2 {
						r.proc.Kill()
					}
					body := fmt.Sprintf(`{"state":{"reported":{"m%d":%d}},"clientToken":"%d"}`, j, i, i*each+j)
					until(t, "mosquitto takes a request", func() bool {
						_, err := c.Publish(topic.Request(), []byte(body), 1)
						if err != nil && !errors.Is(err, mqtt.ErrQuota) {
							t.Fatal(err)
						}
						return err == nil
					})
				}
				r.again()
				r.ready()
			}
			answered := map[string]bool{}
			until(t, "every request is answered", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				for _, payload := range c.got[topic.Accepted()] {
					answered[wire.ClientToken([]byte(payload))] = true
				}
				return len(answered) == kills*each
			})
			t.Logf("%d requests, %d answers", kills*each, len(c.got[topic.Accepted()]))
		})
	}
}
