package link

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gnomon/edge/filesys/crashfs"
	"gnomon/edge/state"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func object(text string) *shadow.Value {
	v, err := shadow.Parse([]byte(text), shadow.DefaultLimits)
	if err != nil {
		panic(fmt.Sprint(text, err))
	}
	return v
}

// node is an agent's link with its disk.
type node struct {
	*Link
	t      *testing.T
	dir    string
	store  *state.Store
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func start(t *testing.T, c *cloud, dir string, change ...func(*Config)) *node {
	t.Helper()
	store, err := state.Open(state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Node: "n1", Store: store, Dial: c.dial, SyncInterval: time.Hour, Timeout: 2 * time.Second,
		BackoffMin: 5 * time.Millisecond, BackoffMax: 50 * time.Millisecond, PersistAfter: 5 * time.Millisecond}
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	for _, f := range change {
		f(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Link: l, t: t, dir: dir, store: store}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.done.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	n.cancel()
	n.done.Wait()
	n.store.Close()
}

func (n *node) desired(name string) string {
	all, _ := n.Desired()
	for _, d := range all {
		if d.Name == name {
			if d.Deleted {
				return "deleted"
			}
			return string(d.Value.AppendJSON(nil))
		}
	}
	return "none"
}

func (n *node) synced() {
	n.t.Helper()
	until(n.t, "a sync", func() bool { return n.counters.Syncs.Load() > 0 })
}

func TestLink_DesiredArrivesAndReportReturns(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"mode":"host","run":{"env":{"A":"1","B":"2"}}}`)
	n := start(t, c, t.TempDir())
	until(t, "desired by sync", func() bool { return n.desired("app:web") == `{"mode":"host","run":{"env":{"A":"1","B":"2"}}}` })

	c.want("app:web", `{"run":{"env":{"B":null,"C":"3"}}}`)
	until(t, "desired by push", func() bool { return n.desired("app:web") == `{"mode":"host","run":{"env":{"A":"1","C":"3"}}}` })
	if n.counters.Gaps.Load() != 0 || c.count(wire.OpSync) != 1 {
		t.Errorf("the push needed a sync: %d gaps, %d syncs", n.counters.Gaps.Load(), c.count(wire.OpSync))
	}
	n.Report("app:web", object(`{"phase":"running","pid":7}`))
	until(t, "the report", func() bool { return c.reported("app:web") == `{"phase":"running","pid":7}` })
	n.Report("app:web", object(`{"phase":"running"}`))
	until(t, "the removal", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
	n.Report("", object(`{"node":{"agent":"x"}}`))
	until(t, "the node", func() bool { return c.reported("") == `{"node":{"agent":"x"}}` })
	n.Report("app:none", object(`{"phase":"running"}`))
	until(t, "nothing pending", func() bool { return len(n.Status().Pending) == 0 })
	if c.reported("app:none") != "none" {
		t.Error("a shadow that isn't held reports")
	}
}

// The trace of a write comes with what is desired, by push as by sync, and is on
// disk with it, and when that was.
func TestLink_TraceComesWithDesired(t *testing.T) {
	const first, second = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
	c, dir := newCloud(t), t.TempDir()
	c.trace = "00-" + first + "-00f067aa0ba902b7-01"
	c.want("app:web", `{"mode":"host"}`)
	began := time.Now()
	n := start(t, c, dir)
	of := func(want string) func() bool {
		return func() bool {
			for _, d := range allDesired(n) {
				if d.Name == "app:web" && d.Trace == want && !d.At.Before(began) && !d.At.After(time.Now()) {
					return true
				}
			}
			return false
		}
	}
	until(t, "the trace by sync", of(first))
	c.with(func() { c.trace = "00-" + second + "-00f067aa0ba902b7-01" })
	c.want("app:web", `{"run":{"env":{"A":"1"}}}`)
	until(t, "the trace by push", of(second))
	n.stop()
	n = start(t, c, dir)
	if !of(second)() {
		t.Errorf("after a restart: %+v", allDesired(n))
	}
	c.with(func() { c.trace = "" })
	c.want("app:web", `{"run":{"env":{"A":"2"}}}`)
	until(t, "no trace from a cloud that knows of none", of(""))
}

func allDesired(n *node) []state.Desired {
	all, _ := n.Desired()
	return all
}

// A section without members is absent, also when it comes about by a patch that
// only removes.
func TestLink_NothingLeftIsNothingWanted(t *testing.T) {
	c := newCloud(t)
	n := start(t, c, t.TempDir())
	n.synced()
	c.want("app:web", `{"a":null}`)
	until(t, "nothing to be wanted", func() bool { return n.desired("app:web") == "null" })
	c.want("app:web", `{"a":1}`)
	until(t, "something", func() bool { return n.desired("app:web") == `{"a":1}` })
	c.want("app:web", `{"a":null}`)
	until(t, "nothing again", func() bool { return n.desired("app:web") == "null" })
}

func TestLink_LostPushesAreFoundBySync(t *testing.T) {
	c := newCloud(t)
	n := start(t, c, t.TempDir())
	c.want("app:web", `{"a":1}`)
	until(t, "the first", func() bool { return n.desired("app:web") == `{"a":1}` })
	c.with(func() { c.lose = 1 })
	c.want("app:web", `{"b":2}`)
	c.want("app:web", `{"c":3}`)
	until(t, "what was lost", func() bool { return n.desired("app:web") == `{"a":1,"b":2,"c":3}` })
	if n.counters.Gaps.Load() == 0 {
		t.Error("no gap was noticed")
	}
	c.with(func() { c.lose = 1 })
	c.remove("app:web")
	c.want("", `{"node":{"sync":{"interval":"5s"}}}`)
	until(t, "the interval", func() bool { return n.Status().Interval == "5s" })
}

func TestLink_PeriodicSyncFindsALostDeletion(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"a":1}`)
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.SyncInterval = 30 * time.Millisecond })
	until(t, "desired", func() bool { return n.desired("app:web") == `{"a":1}` })
	c.with(func() { c.lose = 1 })
	c.remove("app:web")
	until(t, "the deletion", func() bool { return n.desired("app:web") == "deleted" })
	if err := n.Gone("app:web"); err != nil || n.desired("app:web") != "none" {
		t.Fatal(err, n.desired("app:web"))
	}
	c.want("app:web", `{"again":1}`)
	until(t, "the shadow made again", func() bool { return n.desired("app:web") == `{"again":1}` })
}

func TestLink_DeletionDropsReportAndSurvivesRestart(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	c.want("app:web", `{"a":1}`)
	n := start(t, c, dir)
	until(t, "desired", func() bool { return n.desired("app:web") == `{"a":1}` })
	n.Report("app:web", object(`{"phase":"running"}`))
	until(t, "report", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
	c.remove("app:web")
	until(t, "deletion", func() bool { return n.desired("app:web") == "deleted" })
	n.Report("app:web", object(`{"phase":"stopping"}`))
	n.stop()
	c.stop()
	n = start(t, c, dir) // offline: the deletion is still to be carried out
	if got := n.desired("app:web"); got != "deleted" {
		t.Fatalf("after a restart: %s", got)
	}
	if n.Reported("app:web") != nil {
		t.Error("the report of a deleted shadow is kept")
	}
}

func TestLink_WorksFromDiskWithoutACloud(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	c.want("app:web", `{"a":1}`)
	n := start(t, c, dir)
	until(t, "desired", func() bool { return n.desired("app:web") == `{"a":1}` })
	n.stop()
	address := c.address
	c.stop()

	n = start(t, c, dir)
	if got := n.desired("app:web"); got != `{"a":1}` {
		t.Fatalf("desired from disk: %s", got)
	}
	if _, complete := n.Desired(); complete {
		t.Error("nobody has told that this is all")
	}
	n.Report("app:web", object(`{"phase":"running"}`))
	n.stop()
	n = start(t, c, dir)
	if got := string(n.Reported("app:web").AppendJSON(nil)); got != `{"phase":"running"}` {
		t.Fatalf("outbox from disk: %s", got)
	}
	c.listen(address)
	until(t, "the report, once the cloud is back", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
	_, complete := n.Desired()
	if !complete {
		t.Error("a full sync was answered")
	}
}

func TestLink_LostAnswerIsClearedUpBySync(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"a":1}`)
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.Timeout = 50 * time.Millisecond })
	until(t, "desired", func() bool { return n.desired("app:web") == `{"a":1}` })
	n.Report("app:web", object(`{"phase":"starting"}`))
	until(t, "report", func() bool { return c.reported("app:web") == `{"phase":"starting"}` })
	c.with(func() { c.mute[wire.OpUpdate] = 1 })
	n.Report("app:web", object(`{"phase":"starting","extra":1}`))
	until(t, "the report whose answer is lost", func() bool { return strings.Contains(c.reported("app:web"), "extra") })
	n.Report("app:web", object(`{"phase":"running"}`))
	until(t, "a full report", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
}

func TestLink_UnansweredSyncIsAskedAgain(t *testing.T) {
	c := newCloud(t)
	c.mute[wire.OpSync] = 1
	c.want("app:web", `{"a":1}`)
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.Timeout = 30 * time.Millisecond })
	until(t, "desired", func() bool { return n.desired("app:web") == `{"a":1}` })
	if got := n.counters.Unanswered.Load(); got == 0 {
		t.Error("no sync was given up")
	}
}

func TestLink_SyncInParts(t *testing.T) {
	c := newCloud(t)
	c.limit = 3
	for i := range 10 {
		c.want(fmt.Sprint("app:a", i), `{"a":1}`)
	}
	n := start(t, c, t.TempDir())
	until(t, "all parts", func() bool { all, complete := n.Desired(); return len(all) == 11 && complete })
}

func TestLink_CloudFromBackup(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"a":1}`)
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.SyncInterval = 30 * time.Millisecond })
	until(t, "desired", func() bool { return n.desired("app:web") == `{"a":1}` })
	n.Report("app:web", object(`{"phase":"running"}`))
	until(t, "report", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
	var backup *shadow.Document
	c.with(func() { backup = c.docs["app:web"] })
	c.want("app:web", `{"a":2}`)
	until(t, "the newer one", func() bool { return n.desired("app:web") == `{"a":2}` })
	n.Report("app:web", object(`{"phase":"running","pid":2}`))
	until(t, "report", func() bool { return strings.Contains(c.reported("app:web"), "pid") })
	c.with(func() { c.docs["app:web"] = backup })
	until(t, "the older desired", func() bool { return n.desired("app:web") == `{"a":1}` })
	until(t, "the report again", func() bool { return strings.Contains(c.reported("app:web"), "pid") })
}

func TestLink_LostDiskRaisesTheBootEpoch(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"a":1}`)
	c.with(func() { c.docs["app:web"].Origin = shadow.Origin{BootEpoch: 900, Seq: 4} })
	n := start(t, c, t.TempDir())
	n.synced()
	n.Report("app:web", object(`{"phase":"running"}`))
	until(t, "the report", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
	if n.store.BootEpoch() <= 900 {
		t.Errorf("boot epoch %d", n.store.BootEpoch())
	}
}

func TestLink_RefusedReportIsKeptAndNotRepeated(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"a":1}`)
	refusals := 0
	c.refuse = func(wire.Topic) error {
		refusals++
		return &shadow.LimitError{Field: "state", Limit: 10, Got: 20}
	}
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.SyncInterval = 10 * time.Millisecond })
	n.synced()
	n.Report("app:web", object(`{"phase":"running","big":1}`))
	until(t, "the refusal", func() bool { s := n.Status(); return len(s.Refused) == 1 && s.Refused[0].Code == 413 })
	before := n.counters.Syncs.Load()
	until(t, "more syncs", func() bool { return n.counters.Syncs.Load() > before+3 })
	c.with(func() {
		if refusals != 1 {
			t.Errorf("the same report was sent %d times", refusals)
		}
		c.refuse = nil
	})
	n.Report("app:web", object(`{"phase":"running"}`))
	until(t, "the smaller one", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
	if len(n.Status().Refused) != 0 {
		t.Error("still refused")
	}
}

func TestLink_ThrottledReportIsRetried(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"a":1}`)
	left := 2
	c.refuse = func(wire.Topic) error {
		if left--; left >= 0 {
			return &wire.Error{Code: wire.CodeThrottled, Message: "slow down"}
		}
		return nil
	}
	n := start(t, c, t.TempDir())
	n.synced()
	n.Report("app:web", object(`{"phase":"running"}`))
	until(t, "the report", func() bool { return c.reported("app:web") == `{"phase":"running"}` })
}

func TestLink_WhatCannotBeWrittenIsNotAcknowledged(t *testing.T) {
	c := newCloud(t)
	disk := crashfs.New(1)
	store, err := state.Open(state.Config{FS: disk.Mount()})
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.Store = store })
	n.synced()
	disk.Refuse(unix.ENOSPC)
	c.want("app:web", `{"a":1}`)
	until(t, "another connection", func() bool { return n.counters.Connects.Load() > 1 })
	// The cloud has to hear what is wrong, though the sync cannot be written either.
	n.Report("", object(`{"node":{"store":{"error":{"code":"store-full"}}}}`))
	until(t, "the report", func() bool { return strings.Contains(c.reported(""), "store-full") })
	if got := n.desired("app:web"); got != "none" {
		t.Fatalf("acted on without being on disk: %s", got)
	}
	disk.Refuse(nil)
	until(t, "desired", func() bool { return n.desired("app:web") == `{"a":1}` })
}

func TestLink_OneReportInFlightPerShadow(t *testing.T) {
	c := newCloud(t)
	c.want("app:web", `{"a":1}`)
	n := start(t, c, t.TempDir())
	n.synced()
	for i := range 500 {
		n.Report("app:web", object(fmt.Sprintf(`{"n":%d}`, i)))
	}
	until(t, "the last value", func() bool { return c.reported("app:web") == `{"n":499}` })
	var last shadow.Origin
	c.with(func() {
		for i, topic := range c.requests {
			if topic.Op != wire.OpUpdate {
				continue
			}
			u, err := shadow.ParseUpdate(c.bodies[i], shadow.DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			if !u.Origin.After(last) {
				t.Fatalf("origin %+v after %+v", u.Origin, last)
			}
			last = u.Origin
		}
	})
	if n.counters.Rejected.Load() != 0 {
		t.Error("reports were refused")
	}
}

func TestLink_HostileBroker(t *testing.T) {
	for what, text := range map[string]string{
		"huge packet": "\x30\xff\xff\xff\x7f",
		"no length":   "\x30\xff\xff\xff\xff\xff",
		"no MQTT":     "HTTP/1.1 400 Bad Request\r\n\r\n",
		"silence":     "",
	} {
		t.Run(what, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var accepting sync.WaitGroup
			accepting.Go(func() {
				for {
					nc, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = nc.Write([]byte(text))
					defer nc.Close()
				}
			})
			n := start(t, &cloud{address: ln.Addr().String()}, t.TempDir(), func(cfg *Config) { cfg.Timeout = 30 * time.Millisecond })
			until(t, "failures", func() bool { return n.counters.Failures.Load() > 1 })
			n.stop()
			ln.Close()
			accepting.Wait()
		})
	}
}

// TestLink_Converges restarts everything at random while desired and reported
// sections change and messages get lost, then checks that both ends agree.
func TestLink_Converges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = s
	}
	random := rand.New(rand.NewPCG(seed, 0))
	var n *node
	stand := ""
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, %s, link %+v", seed, stand, n.Status())
		}
	}()
	c := newCloud(t)
	dir := t.TempDir()
	quick := func(cfg *Config) { cfg.Timeout, cfg.SyncInterval = 250*time.Millisecond, 100*time.Millisecond }
	n = start(t, c, dir, quick)
	names := []string{"", "app:a", "app:b", "collect:c"}
	for i := range 150 {
		name := names[random.IntN(len(names))]
		switch random.IntN(8) {
		case 0, 1, 2:
			c.want(name, fmt.Sprintf(`{"k%d":%d,"k%d":null}`, random.IntN(4), i, random.IntN(4)))
		case 3, 4:
			n.Report(name, object(fmt.Sprintf(`{"k%d":%d}`, random.IntN(4), i)))
		case 5:
			c.with(func() { c.lose, c.mute[wire.Op(1+random.IntN(4))] = random.IntN(2), random.IntN(2) })
		case 6:
			var exists bool
			c.with(func() { exists = c.docs[name].Exists() })
			if exists && random.IntN(3) == 0 {
				c.remove(name)
			}
		case 7:
			switch random.IntN(4) {
			case 0:
				c.cut()
			case 1:
				n.stop()
				n = start(t, c, dir, quick)
			}
		}
	}
	c.with(func() { c.lose = 0; clear(c.mute) })
	for i, name := range names {
		n.Report(name, object(fmt.Sprintf(`{"final":%d}`, i)))
	}
	for i, name := range names {
		until(t, "desired of "+name, func() bool {
			var want string
			c.with(func() {
				want = "none"
				if d := c.docs[name]; d.Exists() {
					want = string(d.Desired.AppendJSON(nil))
				}
			})
			got := n.desired(name)
			ok := got == want || want == "none" && (got == "deleted" || name == "" && got == "null")
			stand = fmt.Sprintf("%q: cloud %s, node %s", name, want, got)
			return ok
		})
		until(t, "reported of "+name, func() bool {
			if n.desired(name) == "deleted" || n.desired(name) == "none" {
				return true
			}
			n.Report(name, object(fmt.Sprintf(`{"final":%d}`, i))) // made again since
			return c.reported(name) == fmt.Sprintf(`{"final":%d}`, i)
		})
	}
}

func TestActed_Names(t *testing.T) {
	for name, want := range map[string]bool{"": true, "app:web": true, "collect:m": true, "app:": false, "app:../x": false, "free": false} {
		if got := acted(name); got != want {
			t.Errorf("acted(%q) = %v", name, got)
		}
	}
}
