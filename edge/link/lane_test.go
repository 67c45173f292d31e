package link

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gnomon/shadow/wire"
)

// What gathered without a connection goes out with alarms first, then how
// applications are, then readings, also after a restart; and while nothing is
// answered there is still a place for an alarm.
func TestLink_AlarmsGoFirst(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	for i := range 5 {
		c.want(fmt.Sprintf("app:a%d", i), `{"a":1}`)
		c.want(fmt.Sprintf("collect:p%d", i), `{"a":1}`)
	}
	c.want("", `{"node":{}}`)
	n := start(t, c, dir)
	n.synced()
	until(t, "all shadows", func() bool { all, _ := n.Desired(); return len(all) == 11 })
	n.Report("", object(`{"node":{"x":1}}`))
	until(t, "the first report", func() bool { return len(n.Status().Pending) == 0 && c.reported("") == `{"node":{"x":1}}` })
	address := c.address
	c.stop()
	c.cut()
	until(t, "no connection", func() bool { return !n.Status().Connected })
	for i := range 5 {
		n.Report(fmt.Sprintf("collect:p%d", i), object(`{"readings":1}`))
		n.Report(fmt.Sprintf("app:a%d", i), object(`{"phase":"running"}`))
	}
	n.Report("", object(`{"node":{"x":1,"activeAlarms":{"hot":{"of":"node"}}}}`))
	n.stop()
	c.with(func() { c.requests, c.bodies = nil, nil; c.mute[wire.OpUpdate] = 1000 })
	n = start(t, c, dir, func(cfg *Config) { cfg.Timeout = time.Minute })
	c.listen(address)
	sent := func() (names []string) {
		c.with(func() {
			for _, r := range c.requests {
				if r.Op == wire.OpUpdate {
					names = append(names, r.Shadow)
				}
			}
		})
		return names
	}
	until(t, "as many reports as may be unanswered", func() bool { return len(sent()) == maxInFlight-1 })
	if got := sent(); got[0] != "" {
		t.Fatalf("sent first are %q, not the alarm", got)
	}
	// Those from disk have waited for nobody knows how long: they are all alike.
	c.with(func() { c.mute[wire.OpUpdate] = 0 })
	c.cut()
	until(t, "all of it", func() bool { return len(n.Status().Pending) == 0 })
}

func TestLink_APlaceIsKeptForAlarms(t *testing.T) {
	c := newCloud(t)
	c.want("", `{"node":{}}`)
	for i := range 12 {
		c.want(fmt.Sprintf("app:a%d", i), `{"a":1}`)
		c.want(fmt.Sprintf("collect:p%d", i), `{"a":1}`)
	}
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.Timeout = time.Minute })
	n.synced()
	until(t, "all shadows", func() bool { all, _ := n.Desired(); return len(all) == 25 })
	c.with(func() { c.requests, c.mute[wire.OpUpdate] = nil, 1000 })
	n.mu.Lock() // all at once
	now := time.Now()
	for name, r := range n.replicas {
		if name != "" {
			r.reported, r.since = object(`{"x":1}`), now
		}
	}
	n.mu.Unlock()
	signal(n.kick)
	updates := func() (out []string) {
		c.with(func() {
			for _, r := range c.requests {
				if r.Op == wire.OpUpdate {
					out = append(out, r.Shadow)
				}
			}
		})
		return out
	}
	until(t, "reports", func() bool { return len(updates()) == maxInFlight-1 })
	for _, name := range updates() {
		if !strings.HasPrefix(name, "app:") {
			t.Errorf("%s went out before applications", name)
		}
	}
	n.Report("", object(`{"node":{"activeAlarms":{"hot":{"of":"node"}}}}`))
	until(t, "the alarm", func() bool { all := updates(); return len(all) == maxInFlight && all[maxInFlight-1] == "" })
	c.with(func() { c.mute[wire.OpUpdate] = 0 })
	c.cut()
	until(t, "all of it", func() bool { return len(n.Status().Pending) == 0 })
}

func TestLaneOf(t *testing.T) {
	now := time.Now()
	alarm := object(`{"node":{"activeAlarms":{"hot":{}}}}`)
	ended := object(`{"node":{"alarmHistory":{"1":{}}}}`)
	for what, c := range map[string]struct {
		name string
		r    replica
		want lane
	}{
		"an alarm":                     {"", replica{reported: alarm}, laneAlarm},
		"an alarm that is known":       {"", replica{reported: alarm, acked: alarm}, laneState},
		"an alarm that has ended":      {"", replica{reported: ended, acked: alarm}, laneAlarm},
		"nothing of alarms":            {"", replica{reported: object(`{"node":{"usage":{"cpu":1}}}`)}, laneState},
		"an application":               {"app:web", replica{reported: alarm}, laneState},
		"readings":                     {"collect:m", replica{since: now}, laneRest},
		"readings that waited":         {"collect:m", replica{since: now.Add(-patient)}, laneState},
		"readings that came from disk": {"collect:m", replica{}, laneState},
	} {
		if got := c.r.laneOf(c.name, now); got != c.want {
			t.Errorf("%s: lane %d, want %d", what, got, c.want)
		}
	}
}
