package mqtt

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// fresh is a source that takes only what was published while it was listened to, and
// doesn't wait long for it.
func (m *mosquitto) fresh() schema.Source {
	s := m.source()
	s.Retained, s.Timeout = false, schema.Duration(300*time.Millisecond)
	return s
}

// silentOf wants an item to be missing since only the broker knows of it.
func silentOf(t *testing.T, d *Driver, s schema.Source, it schema.Item) {
	t.Helper()
	got, r, err := poll(t, d, s, it)
	v := r.Values[it.Name]
	if got[it.Name] != "[timeout]" || v.Err == nil || !strings.Contains(fmt.Sprint(v.Err), "retained") || err == nil {
		t.Errorf("%s is %s, %v, with %v", it.Name, got[it.Name], v.Err, err)
	}
}

// What the broker retains may be from a device that died long ago: it isn't a value
// until the device speaks, after a start, after a release, and at a path that is new.
func TestPoll_RetainedIsNoValue(t *testing.T) {
	m := startBroker(t, open)
	dev := m.device("", "")
	dev.say("a", `{"V":1,"W":2}`, true)
	s, d := m.fresh(), newDriver(t, m.source(), "")
	it, other := item("V", "a", "V"), item("W", "a", "W")
	until(t, d, m.source(), it, "1") // it has come: this policy takes what is retained
	silentOf(t, d, s, it)
	dev.say("a", `{"V":3,"W":4}`, true)
	live := until(t, d, s, it, "3")
	_, _, _ = poll(t, d, s, other) // the topic is subscribed to anew, for what it holds
	until(t, d, m.source(), other, "4")
	silentOf(t, d, s, other)
	if again := until(t, d, s, it, "3"); !again.At.Equal(live.At) {
		t.Errorf("a retained message made the value of %v one of %v", live.At, again.At)
	}
	dev.say("a", `{"V":5,"W":6}`, false)
	until(t, d, s, other, "6")

	d.Release(s)
	until(t, d, m.source(), it, "3")
	silentOf(t, d, s, it)
	dev.say("a", `{"V":7}`, false)
	until(t, d, s, it, "7")
}

// After the connection was lost the last value is as old as it was, whatever the
// broker retains meanwhile, and of those who take that it is the latest.
func TestPoll_RetainedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(Config{}, schema.Source{})
		b.topics["a"] = &topic{heard: time.Now(), paths: map[string]heard{"": {}}}
		b.up = true
		it, r := item("V", "a", ""), collect.Request{Source: schema.Source{MaxAge: schema.Duration(time.Hour)}}
		taking := r
		taking.Source.Retained = true
		want := func(r collect.Request, text string) time.Time {
			t.Helper()
			values := make(map[string]collect.Value)
			r.Items = []schema.Item{it}
			b.mu.Lock()
			b.complete(r, values)
			b.mu.Unlock()
			if got := values["V"].Value.Text(); got != text {
				t.Errorf("retained %v: %s, want %s: %v", r.Source.Retained, got, text, values["V"].Err)
			}
			return values["V"].At
		}
		say := func(text string, retained bool) {
			b.take("a", []byte(text), retained)
			time.Sleep(time.Millisecond) // so that another one isn't of the same time
		}
		say("1", true)
		want(r, "")
		first := want(taking, "1")
		say("2", false)
		at := want(r, "2")
		want(taking, "2")
		say("1", true) // the connection was lost, and meanwhile it was 1 again
		if again := want(r, "2"); !again.Equal(at) {
			t.Errorf("a value of %v became one of %v", at, again)
		}
		if back := want(taking, "1"); !back.After(at) {
			t.Errorf("what was retained after %v is of %v", at, back)
		}
		say("2", true) // somebody retained what was heard
		if again := want(taking, "2"); !again.Equal(at) {
			t.Errorf("a value of %v became one of %v", at, again)
		}
		say("3", true)
		if want(r, "2"); !want(taking, "3").After(at) || !at.After(first) {
			t.Error("what was retained meanwhile isn't the latest")
		}
		say("4", false)
		want(r, "4")
		want(taking, "4")
	})
}
