package link

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"gnomon/edge/state"
)

const ownReport = `{"override":{"kind":"installed"},"phase":"running"}`

func (c *cloud) exists(name string) (there bool) {
	c.with(func() { there = c.docs[name].Exists() })
	return there
}

// keeping starts a node that keeps a shadow of its own, which the cloud has heard of.
func keeping(t *testing.T, c *cloud, dir string) *node {
	t.Helper()
	n := start(t, c, dir, func(cfg *Config) { cfg.SyncInterval = 100 * time.Millisecond })
	n.Keep("app:own")
	n.Report("app:own", object(ownReport))
	until(t, "the report", func() bool { return c.reported("app:own") == ownReport && len(n.Status().Pending) == 0 })
	return n
}

// What the node keeps by itself reaches the cloud, survives that the cloud deletes
// it, and goes from the cloud when the node withdraws it.
func TestKeep(t *testing.T) {
	c := newCloud(t)
	n := keeping(t, c, t.TempDir())
	if got := n.desired("app:own"); got != "none" {
		t.Errorf("desired is %s, though nobody in the cloud wants it", got)
	}
	c.remove("app:own")
	until(t, "the report after the deletion", func() bool { return c.reported("app:own") == ownReport })
	if got := n.desired("app:own"); got != "none" {
		t.Errorf("desired is %s: the deletion concerns nobody else", got)
	}
	if err := n.Withdraw("app:own"); err != nil {
		t.Fatal(err)
	}
	until(t, "the cloud to forget it", func() bool { return !c.exists("app:own") })
	until(t, "the disk to forget it", func() bool {
		left, err := n.store.AllOutbox()
		return err == nil && !slices.ContainsFunc(left, func(o state.Outbox) bool { return o.Name == "app:own" })
	})
}

// Across a restart of the agent what is kept is known by its acknowledged report,
// and the version to delete has to be learnt again.
func TestKeep_AfterARestart(t *testing.T) {
	c, dir := newCloud(t), t.TempDir()
	n := keeping(t, c, dir)
	n.stop()
	n = start(t, c, dir)
	n.Keep("app:own")
	if err := n.Withdraw("app:own"); err != nil {
		t.Fatal(err)
	}
	until(t, "the cloud to forget it", func() bool { return !c.exists("app:own") })
}

// What the cloud asks for meanwhile is not deleted.
func TestWithdraw_SparesWhatIsDesired(t *testing.T) {
	c := newCloud(t)
	n := keeping(t, c, t.TempDir())
	c.with(func() { c.lose = 1 })
	c.want("app:own", `{"mode":"host"}`)
	if err := n.Withdraw("app:own"); err != nil {
		t.Fatal(err)
	}
	until(t, "what is desired to arrive", func() bool { return n.desired("app:own") == `{"mode":"host"}` })
	if !c.exists("app:own") {
		t.Error("deleted, although it is desired")
	}
	c.remove("app:own")
	until(t, "the deletion to arrive", func() bool { return n.desired("app:own") == "deleted" })
}

// Desired by the cloud and deleted there again, it is the node's own as before.
func TestKeep_OutlivesTheDesireOfTheCloud(t *testing.T) {
	c := newCloud(t)
	n := keeping(t, c, t.TempDir())
	c.want("app:own", `{"mode":"host"}`)
	until(t, "what is desired to arrive", func() bool { return n.desired("app:own") == `{"mode":"host"}` })
	c.remove("app:own")
	until(t, "the report after the deletion", func() bool { return c.reported("app:own") == ownReport })
	if got := n.desired("app:own"); got != "none" {
		t.Errorf("desired is %s", got)
	}
}

// What the cloud never heard of leaves no trace.
func TestWithdraw_Unsent(t *testing.T) {
	c := newCloud(t)
	n := start(t, c, t.TempDir())
	n.Keep("app:own")
	if err := n.Withdraw("app:own"); err != nil {
		t.Fatal(err)
	}
	until(t, "the link to forget it", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.replicas["app:own"] == nil
	})
	if c.exists("app:own") {
		t.Error("the cloud has heard of it")
	}
}

// A node that withdraws while it is alone does so when the cloud is back, whatever
// becomes of the agent in between.
func TestWithdraw_SurvivesARestart(t *testing.T) {
	c, dir := newCloud(t), t.TempDir()
	n := keeping(t, c, dir)
	n.stop()
	n = start(t, c, dir, func(cfg *Config) {
		cfg.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("no network") }
		cfg.PersistAfter = time.Hour // it must not wait for that
	})
	n.Keep("app:own")
	if err := n.Withdraw("app:own"); err != nil {
		t.Fatal(err)
	}
	n.cancel()
	if err := n.store.Close(); err != nil { // killed: nobody waits for what is to be written
		t.Fatal(err)
	}
	n.done.Wait()
	n = start(t, c, dir)
	if got := n.desired("app:own"); got != "none" {
		t.Errorf("desired is %s", got)
	}
	until(t, "the cloud to forget it", func() bool { return !c.exists("app:own") })
}
