package link

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// cloud is the other end: a real broker, and behind it the shadows of one thing,
// kept with the same algebra as the real service. It can be told to misbehave.
type cloud struct {
	trace   string // of what it wants
	t       *testing.T
	server  *mqtt.Server
	address string

	mu       sync.Mutex
	conns    []net.Conn
	docs     map[string]*shadow.Document
	requests []wire.Topic
	bodies   [][]byte
	lose     int                    // pushes not to be sent
	mute     map[wire.Op]int        // answers not to be sent
	refuse   func(wire.Topic) error // refuses updates
	limit    int                    // shadows in one sync answer
	other    func(topic string)     // told of messages beside shadows
}

type hook struct {
	mqtt.HookBase
	cloud *cloud
}

func (h *hook) ID() string { return "cloud" }
func (h *hook) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck || b == mqtt.OnPublish
}
func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (h *hook) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if t, ok := wire.ParseTopic(pk.TopicName); ok && !cl.Net.Inline {
		h.cloud.handle(t, pk.Payload)
		return pk, packets.CodeSuccessIgnore
	}
	if h.cloud.other != nil && !cl.Net.Inline {
		h.cloud.other(pk.TopicName)
	}
	return pk, nil
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, docs: map[string]*shadow.Document{}, mute: map[wire.Op]int{}, limit: 1000}
	c.listen("127.0.0.1:0")
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *cloud) listen(address string) {
	c.t.Helper()
	c.server = mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := c.server.AddHook(&hook{cloud: c}, nil); err != nil {
		c.t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: address})
	if err := c.server.AddListener(l); err != nil {
		c.t.Fatal(err)
	}
	c.with(func() { c.address = l.Address() })
	if err := c.server.Serve(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) stop() {
	if c.server != nil {
		_ = c.server.Close()
		c.server = nil
	}
}

func (c *cloud) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	address := c.address
	c.mu.Unlock()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		c.with(func() { c.conns = append(c.conns, nc) })
	}
	return nc, err
}

// cut breaks every connection.
func (c *cloud) cut() {
	c.with(func() {
		for _, nc := range c.conns {
			nc.Close()
		}
		c.conns = nil
	})
}

func (c *cloud) publish(topic string, payload []byte) {
	_ = c.server.Publish(topic, payload, false, 1)
}

func (c *cloud) handle(t wire.Topic, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.bodies = append(c.requests, t), append(c.bodies, append([]byte{}, body...))
	accepted, err := c.serve(t, body)
	if c.mute[t.Op] > 0 {
		c.mute[t.Op]--
		return
	}
	if err != nil {
		c.publish(t.Rejected(), wire.AppendRejected(nil, err, 1, wire.ClientToken(body)))
		return
	}
	c.publish(t.Accepted(), accepted)
}

func (c *cloud) serve(t wire.Topic, body []byte) ([]byte, error) {
	if t.Op == wire.OpSync {
		req, err := wire.ParseSyncRequest(body)
		if err != nil {
			return nil, err
		}
		return c.sync(req).Append(nil), nil
	}
	if c.refuse != nil {
		if err := c.refuse(t); err != nil {
			return nil, err
		}
	}
	if t.Op == wire.OpDelete {
		return c.delete(t, body)
	}
	u, err := shadow.ParseUpdate(body, shadow.DefaultLimits)
	if err != nil {
		return nil, err
	}
	if o, _ := schema.OverrideOf(u.Reported.Patch); !c.docs[t.Shadow].Exists() && t.Shadow != "" && o.Kind != schema.OverrideInstalled {
		return nil, wire.NotFound(t.Thing, t.Shadow)
	}
	next, err := c.docs[t.Shadow].Apply(u, 1, shadow.DefaultLimits)
	if err != nil {
		return nil, err
	}
	c.docs[t.Shadow] = next
	return wire.AppendAccepted(nil, u, next), nil
}

// delete removes a shadow as the node asks, if the version is right.
func (c *cloud) delete(t wire.Topic, body []byte) ([]byte, error) {
	r, err := shadow.ParseRequest(body, shadow.DefaultLimits)
	if err != nil {
		return nil, err
	}
	next, err := c.docs[t.Shadow].Delete(r.Version, 1)
	if err != nil {
		return nil, err
	}
	c.docs[t.Shadow] = next
	c.push(t.Shadow, &wire.DesiredPush{Version: next.Version, DesiredVersion: next.DesiredVersion, Deleted: true})
	return wire.AppendDeleted(nil, next, r.ClientToken), nil
}

func (c *cloud) sync(req *wire.SyncRequest) *wire.SyncReply {
	reply := &wire.SyncReply{BootEpoch: req.BootEpoch, ClientToken: req.ClientToken, Shadows: map[string]wire.SyncShadow{}}
	names := map[string]bool{}
	for n := range c.docs {
		names[n] = true
	}
	for n := range req.Shadows {
		names[n] = true
	}
	for n := range names {
		d, state := c.docs[n], req.Shadows[n]
		_, listed := req.Shadows[n]
		var s wire.SyncShadow
		switch {
		case !d.Exists() && n == "":
			if state.Reported == "" && state.Desired == 0 {
				continue
			}
			s = wire.SyncShadow{ReportFull: true, Current: state.Desired == 0}
		case !d.Exists():
			if !listed {
				continue
			}
			s.Deleted = true
			if d != nil {
				s.Version, s.DesiredVersion = d.Version, d.DesiredVersion
			}
		default:
			s = wire.SyncShadow{Version: d.Version, DesiredVersion: d.DesiredVersion,
				Current: state.Desired == d.DesiredVersion, ReportFull: state.Reported != shadow.Digest(d.Reported)}
			if !s.Current && d.Desired != nil {
				s.Desired, s.Trace = d.Desired.AppendJSON(nil), c.trace
			}
			if s.Current && !s.ReportFull {
				continue
			}
		}
		if len(reply.Shadows) == c.limit {
			reply.More = true
			break
		}
		reply.Shadows[n] = s
	}
	return reply
}

// want merges a patch into the desired section of a shadow and pushes it.
func (c *cloud) want(name, patch string) uint64 {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.docs[name]
	p := object(patch)
	next, err := old.Apply(&shadow.Update{Desired: shadow.Section{Present: true, Patch: p}}, 1, shadow.DefaultLimits)
	if err != nil {
		c.t.Fatal(err)
	}
	c.docs[name] = next
	push := &wire.DesiredPush{Version: next.Version, DesiredVersion: next.DesiredVersion, Timestamp: 1, Patch: json.RawMessage(patch), Trace: c.trace}
	if old.Exists() && old.Desired != nil {
		push.Base = old.DesiredVersion
	}
	c.push(name, push)
	return next.DesiredVersion
}

func (c *cloud) remove(name string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := c.docs[name].Delete(nil, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	c.docs[name] = next
	c.push(name, &wire.DesiredPush{Version: next.Version, DesiredVersion: next.DesiredVersion, Deleted: true})
}

func (c *cloud) push(name string, p *wire.DesiredPush) {
	if c.lose > 0 {
		c.lose--
		return
	}
	c.publish(wire.Topic{Thing: "n1", Shadow: name}.Desired(), p.Append(nil))
}

func (c *cloud) reported(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.docs[name]; d.Exists() {
		return string(d.Reported.AppendJSON(nil))
	}
	return "none"
}

func (c *cloud) with(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cloud) count(op wire.Op) (n int) {
	c.with(func() {
		for _, t := range c.requests {
			if t.Op == op {
				n++
			}
		}
	})
	return n
}

// until polls for what no event tells of in this process. It has the patience for a
// link that asks again, which is after 10 s: as a session is handed over to the next
// connection the broker may lose a message.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
