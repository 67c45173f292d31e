package devices

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func (w *world) cloudUpdate(t *testing.T, k key, body string) {
	t.Helper()
	u, err := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
	if err == nil {
		err = w.cloud.change(k, u)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) doc(k key) *shadow.Document { return w.node.replicas[k].doc }

var d1 = key{thing: "d1"}

// What isn't on disk isn't acknowledged, and nobody sees it.
func TestDiskFails(t *testing.T) {
	w := newWorld(t)
	w.request(wire.OpUpdate, d1, `{"state":{"reported":{"x":1}}}`)
	w.disk.broken = errors.New("disk full")
	w.answers = map[string]int{}
	for op, body := range map[wire.Op]string{wire.OpUpdate: `{"state":{"reported":{"x":2}}}`, wire.OpDelete: ""} {
		if err := w.node.Request(context.Background(), wire.Topic{Thing: "d1", Op: op}, []byte(body)); err == nil {
			t.Errorf("%s was acknowledged", op)
		}
	}
	if len(w.answers) > 0 || w.doc(d1).Version != 1 || w.doc(d1).Reported.Get("x").Text() != "1" {
		t.Errorf("answers %v, version %d", w.answers, w.doc(d1).Version)
	}
}

func TestRejected(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		topic wire.Topic
		body  string
		leaf  string
		code  string
	}{
		{wire.Topic{Thing: "other", Op: wire.OpUpdate}, `{"state":{}}`, "update/rejected", "403"},
		{wire.Topic{Thing: "other", Op: wire.OpGet}, ``, "get/rejected", "403"},
		{wire.Topic{Thing: "d1", Op: wire.OpGet}, ``, "get/rejected", "404"},
		{wire.Topic{Thing: "d1", Shadow: "a", Op: wire.OpDelete}, ``, "delete/rejected", "404"},
		{wire.Topic{Thing: "d1", Op: wire.OpUpdate}, `{`, "update/rejected", "400"},
		{wire.Topic{Thing: "d1", Op: wire.OpUpdate}, `{"state":{"reported":{"x":1}},"version":7}`, "update/rejected", "409"},
		{wire.Topic{Thing: "d1", Op: wire.OpUpdate}, `{"state":{"reported":{"x":"` + strings.Repeat("x", 70<<10) + `"}}}`, "update/rejected", "413"},
		{wire.Topic{Thing: "d1", Op: wire.OpSync}, `{}`, "sync/rejected", "405"},
	} {
		var said string
		w.node.cfg.Publish = func(topic string, payload []byte) { said += topic + " " + string(payload) + "\n" }
		if err := w.node.Request(context.Background(), c.topic, []byte(c.body)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said, c.leaf) || !strings.Contains(said, `"code":`+c.code) || strings.Count(said, "\n") != 1 {
			t.Errorf("%v %.40s: %s, want %s with %s", c.topic, c.body, said, c.leaf, c.code)
		}
	}
	if len(w.disk.records) > 0 {
		t.Errorf("%d records of nothing", len(w.disk.records))
	}
}

func TestBounded(t *testing.T) {
	w := newWorld(t)
	for i := range MaxShadows - 2 { // the classic ones of both devices are there
		w.request(wire.OpUpdate, key{"d1", fmt.Sprint("s", i)}, `{"state":{"reported":{"x":1}}}`)
	}
	w.answers = map[string]int{}
	w.request(wire.OpUpdate, key{"d1", "more"}, `{"state":{"reported":{"x":1}}}`)
	if w.answers["update/rejected"] != 1 || len(w.node.replicas) != MaxShadows {
		t.Errorf("%v, %d held", w.answers, len(w.node.replicas))
	}
	w.request(wire.OpUpdate, key{"d1", "s0"}, `{"state":{"reported":{"x":2}}}`)
	if w.answers["update/accepted"] != 1 {
		t.Errorf("%v", w.answers)
	}
}

// A damaged record costs its own shadow.
func TestDamagedRecord(t *testing.T) {
	w := newWorld(t)
	w.request(wire.OpUpdate, d1, `{"state":{"reported":{"x":1}}}`)
	w.request(wire.OpUpdate, key{thing: "d2"}, `{"state":{"reported":{"x":1}}}`)
	w.disk.records[recordName(d1)] = []byte(`{"thing":"d1","document":"AAAA"}`)
	w.disk.records["d1/moved"] = w.disk.records[recordName(key{thing: "d2"})]
	w.boot()
	if w.doc(d1).Version != 0 || w.doc(key{thing: "d2"}).Version != 1 || len(w.disk.records) != 1 {
		t.Errorf("%d, %d, %d records", w.doc(d1).Version, w.doc(key{thing: "d2"}).Version, len(w.disk.records))
	}
}

// The longest names that the contract has make file names that any disk takes.
func TestRecordNames(t *testing.T) {
	for _, k := range []key{d1, {strings.Repeat(":", 128), strings.Repeat("$", 64)}, {"a", strings.Repeat("b", 64)}} {
		if n := len(recordName(k)); n > 80 {
			t.Errorf("%v: %d bytes", k, n)
		}
	}
	if recordName(key{"a", "b"}) == recordName(key{"a", "c"}) {
		t.Error("two shadows share a record")
	}
}

// What the node no longer speaks for is kept, and neither served nor sent.
func TestNoLongerServed(t *testing.T) {
	w := newWorld(t)
	w.request(wire.OpUpdate, d1, `{"state":{"reported":{"x":1}}}`)
	w.node.Serve(&schema.NodeDevices{Names: []string{"d2"}})
	w.settle()
	if w.cloud.docs[d1].Exists() {
		t.Error("the node spoke for what isn't its own")
	}
	if s := w.node.Status(); s.Unserved != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	w.node.Serve(&schema.NodeDevices{Prefix: "d"})
	w.settle()
	w.check()
	if !w.cloud.docs[d1].Exists() {
		t.Error("what was kept isn't sent")
	}
}

// A shadow made in the cloud is looked for as soon as it is heard of.
func TestHeardOf(t *testing.T) {
	w := newWorld(t)
	w.settle()
	select {
	case <-w.node.Kick():
	default:
	}
	w.cloudUpdate(t, d1, `{"state":{"desired":{"x":1}}}`)
	for len(w.down) > 0 {
		w.deliverDown()
	}
	select {
	case <-w.node.Kick():
	default:
		t.Error("nothing tells that there is something to ask")
	}
	w.settle()
	w.check()
	if w.doc(d1).Desired.Get("x").Text() != "1" {
		t.Error("not there")
	}
}

// A named shadow made in the cloud while the node was away is there once it is back,
// though nobody on the node has asked for it.
func TestFoundAfterAbsence(t *testing.T) {
	w := newWorld(t)
	w.settle()
	w.cut()
	named := key{"d1", "settings"}
	w.cloudUpdate(t, named, `{"state":{"desired":{"x":1},"reported":{"y":2}}}`)
	w.settle()
	w.check()
	if d := w.doc(named); d.Desired.Get("x").Text() != "1" || d.Reported.Get("y").Text() != "2" {
		t.Errorf("desired %s, reported %s", sectionText(d.Desired), sectionText(d.Reported))
	}
	syncs := w.node.counters["syncs"]
	w.settle()
	if more := w.node.counters["syncs"] - syncs; more > 20 {
		t.Errorf("%d syncs of two devices in 400 s of peace, at one a minute", more)
	}
}

// The device said something to the cloud itself before the node spoke for it:
// that stays, below what it says now.
func TestMeets(t *testing.T) {
	w := newWorld(t)
	w.cloudUpdate(t, d1, `{"state":{"reported":{"x":1,"y":1},"desired":{"x":2,"z":2}}}`)
	w.request(wire.OpUpdate, d1, `{"state":{"reported":{"y":3},"desired":{"z":3,"n":3}}}`)
	w.settle()
	w.check()
	if got := sectionText(w.doc(d1).Reported); got != `{"x":1,"y":3}` {
		t.Errorf("reported %s", got)
	}
	if got := sectionText(w.doc(d1).Desired); got != `{"n":3,"x":2,"z":2}` {
		t.Errorf("desired %s", got)
	}
}

// What the cloud refuses for what is in it is told, and isn't sent for ever.
func TestCloudRefuses(t *testing.T) {
	w := newWorld(t)
	w.settle()
	refuse := func(code string) {
		t.Helper()
		updates := func() []Message { // a comparison may be due at any time
			w.send()
			all := slices.DeleteFunc(w.up, func(m Message) bool { return !strings.HasSuffix(m.Topic, "/update") })
			w.up = nil
			return all
		}
		all := updates()
		if len(all) != 1 {
			t.Fatalf("%d updates", len(all))
		}
		m := all[0]
		if err := w.node.Receive(m.Topic+"/rejected", []byte(`{"code":`+code+`,"message":"no","clientToken":"`+wire.ClientToken(m.Payload)+`"}`)); err != nil {
			t.Fatal(err)
		}
		if all := updates(); len(all) != 0 {
			t.Errorf("sent again: %s", all[0].Payload)
		}
	}
	w.request(wire.OpUpdate, d1, `{"state":{"reported":{"x":1}}}`)
	refuse("413")
	if s := w.node.Status(); len(s.Refused) != 1 || !strings.Contains(s.Refused[0], "413") {
		t.Errorf("%+v", s)
	}
	w.request(wire.OpUpdate, d1, `{"state":{"reported":{"x":2}}}`)
	w.settle()
	w.check()
	if s := w.node.Status(); len(s.Refused) != 0 {
		t.Errorf("%+v", s)
	}
	before := w.doc(d1).Version
	w.request(wire.OpUpdate, d1, `{"state":{"desired":{"x":9}}}`)
	refuse("403")
	if w.doc(d1).Desired != nil || w.doc(d1).Version != before+2 {
		t.Errorf("desired %s at version %d", sectionText(w.doc(d1).Desired), w.doc(d1).Version)
	}
}

// Whoever spoke for a device before started more often: the node counts on from there.
func TestEpoch(t *testing.T) {
	w := newWorld(t)
	w.cloudUpdate(t, d1, `{"state":{"reported":{"x":1}},"origin":{"bootEpoch":900,"seq":4}}`)
	w.request(wire.OpUpdate, d1, `{"state":{"reported":{"x":2}}}`)
	w.settle()
	w.check()
	if w.disk.epoch <= 900 {
		t.Errorf("epoch %d", w.disk.epoch)
	}
}

// A device that has more shadows than the node holds, and than one answer has room
// for, isn't compared for ever: what is held is kept of one mind, and the rest costs
// nothing.
func TestMoreThanFit(t *testing.T) {
	w := newWorld(t)
	last := key{"d1", "z"}
	w.cloudUpdate(t, last, `{"state":{"desired":{"x":1}}}`)
	w.settle()
	if w.doc(last).Desired.Get("x").Text() != "1" {
		t.Fatal("it isn't known to begin with")
	}
	w.cut()
	for i := range 4 * MaxShadows {
		w.cloudUpdate(t, key{"d1", fmt.Sprintf("a%04d", i)}, `{"state":{"desired":{"x":1}}}`)
	}
	w.cloudUpdate(t, last, `{"state":{"desired":{"x":2}}}`)
	w.settle()
	w.check()
	if got := w.doc(last).Desired.Get("x").Text(); got != "2" || len(w.node.replicas) != MaxShadows {
		t.Errorf("%d shadows are held, and what is desired of the last is %s", len(w.node.replicas), got)
	}
	// 400 seconds pass, in which two devices are compared every minute, less 20 %.
	w.cloud.syncs, w.cloud.synced = 0, 0
	w.settle()
	if w.cloud.syncs < 2*5 || w.cloud.syncs > 2*9 || w.cloud.synced > 20_000 {
		t.Errorf("%d comparisons, of %d bytes", w.cloud.syncs, w.cloud.synced)
	}
}
