package devices

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// disk is a node's disk that keeps what was put.
type disk struct {
	records map[string][]byte
	epoch   uint64
	broken  error
}

func (d *disk) Put(records ...state.Record) error {
	for _, r := range records {
		if d.broken != nil {
			return d.broken
		}
		d.records[r.Name] = r.Data
	}
	return nil
}

func (d *disk) Delete(_ state.Kind, names ...string) error {
	for _, n := range names {
		delete(d.records, n)
	}
	return nil
}

func (d *disk) All(state.Kind) (map[string][]byte, error) { return d.records, nil }
func (d *disk) Reject(_ state.Kind, name string, _ error) { delete(d.records, name) }
func (d *disk) BootEpoch() uint64                         { return d.epoch }
func (d *disk) RaiseEpoch(e uint64) error                 { d.epoch = max(d.epoch, e); return nil }

// cloud keeps documents by the rules of the service, and says what it says.
type cloud struct {
	docs map[key]*shadow.Document
	now  int64
	say  func(topic string, payload []byte)

	syncs, synced int // how many were answered, and by how many bytes
}

func (c *cloud) handle(topic string, body []byte) {
	t, ok := wire.ParseTopic(topic)
	if !ok {
		panic("no request: " + topic)
	}
	k := key{t.Thing, t.Shadow}
	d := c.docs[k]
	var err error
	switch t.Op {
	case wire.OpGet:
		if !d.Exists() {
			err = wire.NotFound(t.Thing, t.Shadow)
			break
		}
		c.say(t.Accepted(), wire.AppendGet(nil, d, c.now, wire.ClientToken(body)))
	case wire.OpUpdate:
		var u *shadow.Update
		if u, err = shadow.ParseUpdate(body, shadow.DefaultLimits); err == nil {
			err = c.change(k, u)
		}
	case wire.OpDelete:
		var r *shadow.Request
		if r, err = shadow.ParseRequest(body, shadow.DefaultLimits); err != nil {
			break
		}
		var gone *shadow.Document
		if gone, err = d.Delete(r.Version, c.now); err == nil {
			c.bury(k, gone, r.ClientToken)
		}
	case wire.OpSync:
		c.sync(t, body)
	}
	if err != nil {
		c.say(t.Rejected(), wire.AppendRejected(nil, err, c.now, wire.ClientToken(body)))
	}
}

func (c *cloud) change(k key, u *shadow.Update) error {
	before := c.docs[k]
	next, err := before.Apply(u, c.now, shadow.DefaultLimits)
	if err != nil {
		return err
	}
	c.docs[k] = next
	t := wire.Topic{Thing: k.thing, Shadow: k.name, Op: wire.OpUpdate}
	c.say(t.Accepted(), wire.AppendAccepted(nil, u, next))
	if next.DesiredVersion == next.Version {
		p := &wire.DesiredPush{Version: next.Version, DesiredVersion: next.DesiredVersion, Timestamp: c.now}
		if before.Exists() && before.Desired != nil && u.Desired.Patch != nil {
			p.Base, p.Patch = before.DesiredVersion, u.Desired.Patch.AppendJSON(nil)
		} else if next.Desired != nil {
			p.Patch = next.Desired.AppendJSON(nil)
		}
		c.say(t.Desired(), p.Append(nil))
	}
	return nil
}

func (c *cloud) bury(k key, gone *shadow.Document, token string) {
	c.docs[k] = gone
	t := wire.Topic{Thing: k.thing, Shadow: k.name, Op: wire.OpDelete}
	c.say(t.Accepted(), wire.AppendDeleted(nil, gone, token))
	p := &wire.DesiredPush{Version: gone.Version, DesiredVersion: gone.Version, Deleted: true, Timestamp: c.now}
	c.say(t.Desired(), p.Append(nil))
}

func (c *cloud) sync(t wire.Topic, body []byte) {
	r, err := wire.ParseSyncRequest(body)
	if err != nil {
		panic(err)
	}
	c.syncs++
	reply := &wire.SyncReply{BootEpoch: r.BootEpoch, Timestamp: c.now, ClientToken: r.ClientToken, Shadows: map[string]wire.SyncShadow{}}
	size := 0
	say := func(name string, s wire.SyncShadow) {
		if size += len(s.Desired) + len(name) + 160; size > wire.MaxSyncBytes && len(reply.Shadows) > 0 {
			reply.More = true
		} else {
			reply.Shadows[name] = s
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Shadows)) {
		s, d := r.Shadows[name], c.docs[key{t.Thing, name}]
		if d != nil {
			reply.BootEpoch = max(reply.BootEpoch, d.Origin.BootEpoch)
		}
		switch {
		case !d.Exists() && name == "":
			if s.Reported != "" || s.Desired != 0 {
				say(name, wire.SyncShadow{ReportFull: true, Current: s.Desired == 0})
			}
		case !d.Exists():
			gone := wire.SyncShadow{Deleted: true}
			if d != nil {
				gone.Version = d.Version
			}
			say(name, gone)
		default:
			out := wire.SyncShadow{Version: d.Version, DesiredVersion: d.DesiredVersion, Current: s.Desired == d.DesiredVersion}
			if !out.Current && d.Desired != nil {
				out.Desired = d.Desired.AppendJSON(nil)
			}
			if out.ReportFull = s.Reported != shadow.Digest(d.Reported); !out.Current || out.ReportFull {
				say(name, out)
			}
		}
	}
	var others []string
	for k, d := range c.docs {
		if _, said := r.Shadows[k.name]; r.All && k.thing == t.Thing && !said && d.Exists() {
			others = append(others, k.name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		d := c.docs[key{t.Thing, name}]
		say(name, wire.SyncShadow{Version: d.Version, DesiredVersion: d.DesiredVersion, ReportFull: d.Reported != nil})
	}
	t.Op = wire.OpSync
	text := reply.Append(nil)
	c.synced += len(text)
	c.say(t.Accepted(), text)
}

// world is a node, a cloud, and a line between them that is cut at any moment.
type world struct {
	t     interface{ Fatalf(string, ...any) }
	node  *Devices
	disk  *disk
	cloud *cloud
	now   time.Time
	up    []Message
	down  []Message
	on    bool
	log   []string

	seen     map[key]uint64            // highest version a reader saw
	contents map[string]string         // by shadow and version
	reported map[key]map[string]string // as the devices said it last, by member
	local    map[key]map[string]string // as desired on the node last
	theirs   map[key]map[string]bool   // members that the cloud wrote
	answers  map[string]int            // of the last request on the node, by leaf
}

func newWorld(t interface{ Fatalf(string, ...any) }) *world {
	w := &world{
		t: t, disk: &disk{records: map[string][]byte{}, epoch: 1}, cloud: &cloud{docs: map[key]*shadow.Document{}, now: 1000},
		now:  time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		seen: map[key]uint64{}, contents: map[string]string{}, reported: map[key]map[string]string{},
		local: map[key]map[string]string{}, theirs: map[key]map[string]bool{}, answers: map[string]int{},
	}
	w.cloud.say = func(topic string, payload []byte) {
		if w.on {
			w.down = append(w.down, Message{topic, payload})
		}
	}
	w.boot()
	return w
}

func (w *world) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) fail(format string, args ...any) {
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

func (w *world) boot() {
	w.disk.epoch++
	d, err := New(Config{
		Store: w.disk, Epoch: w.disk, SyncInterval: time.Minute, Timeout: time.Second, BackoffMax: 4 * time.Second, Patience: time.Nanosecond,
		Now: func() time.Time { return w.now }, Publish: w.published,
	})
	if err != nil {
		w.fail("boot: %v", err)
	}
	d.Serve(&schema.NodeDevices{Names: []string{"d1", "d2"}})
	w.node = d
}

// published checks what a reader on the node gets.
func (w *world) published(topic string, payload []byte) {
	t, leaf, ok := wire.ParseReply(topic)
	if !ok || t.Plain {
		return
	}
	w.answers[leaf]++
	if leaf != "update/documents" {
		return
	}
	v, err := shadow.Parse(payload, generous)
	if err != nil {
		w.fail("documents: %v: %s", err, payload)
	}
	k := key{t.Thing, t.Shadow}
	current := v.Get("current")
	var n uint64
	if _, err := fmt.Sscan(current.Get("version").Text(), &n); err != nil {
		w.fail("version: %s", payload)
	}
	if n <= w.seen[k] {
		w.fail("%v: version %d after %d", k, n, w.seen[k])
	}
	w.seen[k] = n
}

func (w *world) connect() {
	w.on = true
	w.note("connect")
	w.node.Connected()
	w.node.Listening(w.node.Things()...)
}

func (w *world) cut() {
	w.on, w.up, w.down = false, nil, nil
	w.note("cut")
	w.node.Disconnected(errors.New("cut"))
}

// send takes what the node wants to send.
func (w *world) send() {
	w.node.Listening(w.node.Things()...)
	out, _, err := w.node.Due()
	if err != nil {
		w.fail("due: %v", err)
	}
	for _, m := range out {
		w.note("  ^ %s %s", m.Topic, m.Payload)
	}
	w.up = append(w.up, out...)
}

func (w *world) deliverUp() {
	if len(w.up) > 0 {
		m := w.up[0]
		w.up = w.up[1:]
		w.cloud.handle(m.Topic, m.Payload)
	}
}

func (w *world) deliverDown() {
	if len(w.down) > 0 {
		m := w.down[0]
		w.down = w.down[1:]
		w.note("  v %s %s", m.Topic, m.Payload)
		if err := w.node.Receive(m.Topic, m.Payload); err != nil {
			w.fail("receive: %v", err)
		}
	}
}

func (w *world) request(op wire.Op, k key, body string) {
	w.note("node: %s %s/%s %s", op, k.thing, k.name, body)
	if err := w.node.Request(context.Background(), wire.Topic{Thing: k.thing, Shadow: k.name, Op: op}, []byte(body)); err != nil {
		w.fail("request: %v", err)
	}
}

// settle connects and lets everything that is under way come to its end.
func (w *world) settle() {
	if !w.on {
		w.connect()
	}
	for round := 0; round < 40; round++ {
		for i := 0; i < 200; i++ {
			w.send()
			if len(w.up) == 0 && len(w.down) == 0 {
				break
			}
			w.deliverUp()
			w.deliverDown()
		}
		w.now = w.now.Add(10 * time.Second)
		w.cloud.now += 10
	}
}

func sectionText(v *shadow.Value) string {
	if v == nil {
		return "-"
	}
	return string(v.AppendJSON(nil))
}

// check compares node and cloud when everything has settled.
func (w *world) check() {
	for k, c := range w.cloud.docs {
		if c.Exists() && w.node.replicas[k] == nil && len(w.node.replicas) < MaxShadows {
			w.fail("%v: in the cloud alone", k)
		}
	}
	for k, r := range w.node.replicas {
		c := w.cloud.docs[k]
		if r.doc.Exists() != c.Exists() {
			w.fail("%v: there on the node: %v, in the cloud: %v", k, r.doc.Exists(), c.Exists())
		}
		if !c.Exists() {
			continue
		}
		if a, b := sectionText(r.doc.Desired), sectionText(c.Desired); a != b {
			w.fail("%v: desired on the node %s, in the cloud %s", k, a, b)
		}
		if a, b := sectionText(r.doc.Reported), sectionText(c.Reported); a != b {
			w.fail("%v: reported on the node %s, in the cloud %s", k, a, b)
		}
		if r.pending() {
			w.fail("%v: pending", k)
		}
		for member, want := range w.reported[k] {
			if got := sectionText(r.doc.Reported.Get(member)); got != want {
				w.fail("%v: the device reported %s = %s, and now it is %s", k, member, want, got)
			}
		}
		for member, want := range w.local[k] {
			if got := sectionText(r.doc.Desired.Get(member)); got != want && !w.theirs[k][member] {
				w.fail("%v: %s = %s was desired on the node, and now it is %s", k, member, want, got)
			}
		}
	}
}

// Whatever is cut, lost and restarted, whenever: the node and its cloud come to
// be of one mind, readers on the node never see a version go back, and what was
// acknowledged on the node is in the cloud, unless the cloud has overruled it.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		deletes := rapid.Bool().Draw(t, "deletes")
		keys := []key{{"d1", ""}, {"d1", "a"}, {"d2", ""}}
		count := 0
		note := func(all map[key]map[string]string, k key, member, value string) {
			if all[k] == nil {
				all[k] = map[string]string{}
			}
			all[k][member] = value
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			k := rapid.SampledFrom(keys).Draw(t, "key")
			member := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "member")
			count++
			value := fmt.Sprint(count)
			switch op := rapid.IntRange(0, 12).Draw(t, "op"); op {
			case 0, 1:
				note(w.reported, k, member, value)
				w.request(wire.OpUpdate, k, `{"state":{"reported":{"`+member+`":`+value+`}}}`)
			case 2:
				note(w.local, k, member, value)
				w.request(wire.OpUpdate, k, `{"state":{"desired":{"`+member+`":`+value+`}}}`)
			case 3, 4:
				if w.theirs[k] == nil {
					w.theirs[k] = map[string]bool{}
				}
				w.theirs[k][member] = true
				w.note("cloud: desires %v %s %s", k, member, value)
				u, err := shadow.ParseUpdate([]byte(`{"state":{"desired":{"`+member+`":`+value+`}}}`), shadow.DefaultLimits)
				if err == nil {
					err = w.cloud.change(k, u)
				}
				if err != nil {
					w.fail("%v", err)
				}
			case 5:
				if w.on {
					w.cut()
				} else {
					w.connect()
				}
			case 6:
				w.note("crash")
				w.on, w.up, w.down = false, nil, nil
				w.boot()
			case 7:
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
			case 8:
				if deletes && rapid.Bool().Draw(t, "here") {
					w.request(wire.OpDelete, k, "")
				} else if d := w.cloud.docs[k]; deletes && d.Exists() {
					w.note("cloud: deletes %v", k)
					gone, err := d.Delete(nil, w.cloud.now)
					if err != nil {
						w.fail("%v", err)
					}
					w.cloud.bury(k, gone, "")
					w.theirs[k] = map[string]bool{"x": true, "y": true, "z": true} // it wrote them all
				}
				if deletes { // what was said before it is gone, or not: both is right
					w.local[k], w.reported[k] = nil, nil
				}
			case 9:
				w.request(wire.OpGet, k, "")
			default:
				if w.on {
					w.send()
					for range rapid.IntRange(0, 6).Draw(t, "deliveries") {
						if rapid.Bool().Draw(t, "up") {
							w.deliverUp()
						} else {
							w.deliverDown()
						}
					}
				}
			}
		}
		w.settle()
		w.check()
	})
}
