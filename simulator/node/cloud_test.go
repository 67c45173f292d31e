package node

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is the contract of one thing's shadows over a real broker: the documents
// are the real algebra, what is pushed is up to the test.
type cloud struct {
	mochi.HookBase
	t      *testing.T
	server *mochi.Server
	addr   string
	thing  string

	mu      sync.Mutex
	docs    map[string]*shadow.Document
	syncs   []*wire.SyncRequest
	reports []string // bodies, as received
	mute    int      // answers to reports to leave out
	deaf    int      // answers to syncs to leave out
	changed chan struct{}
}

func newCloud(t *testing.T, thing string) *cloud {
	t.Helper()
	c := &cloud{t: t, thing: thing, docs: map[string]*shadow.Document{}, changed: make(chan struct{}, 1)}
	c.server = mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler), InlineClient: true})
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	for _, err := range []error{c.server.AddHook(c, nil), c.server.AddListener(l), c.server.Serve()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.addr = l.Address()
	for _, filter := range []string{"sync", "update", "name/+/update"} {
		if err := c.server.Subscribe("$aws/things/"+thing+"/shadow/"+filter, 1, c.request); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = c.server.Close() })
	return c
}

func (c *cloud) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (c *cloud) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (c *cloud) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

func (c *cloud) request(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
	topic, ok := wire.ParseTopic(pk.TopicName)
	if !ok {
		c.t.Errorf("a request on %q", pk.TopicName)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if topic.Op == wire.OpSync {
		c.sync(topic, pk.Payload)
	} else {
		c.update(topic, pk.Payload)
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *cloud) sync(topic wire.Topic, body []byte) {
	req, err := wire.ParseSyncRequest(body)
	if err != nil {
		c.t.Errorf("sync %s: %v", body, err)
		return
	}
	c.syncs = append(c.syncs, req)
	if c.deaf > 0 {
		c.deaf--
		return
	}
	reply := wire.SyncReply{BootEpoch: req.BootEpoch, Shadows: map[string]wire.SyncShadow{}, ClientToken: req.ClientToken}
	for name, d := range c.docs {
		held := req.Shadows[name]
		s := wire.SyncShadow{Version: d.Version, DesiredVersion: d.DesiredVersion}
		s.Current = held.Desired == d.DesiredVersion
		s.ReportFull = held.Reported != shadow.Digest(d.Reported)
		if s.Current && !s.ReportFull {
			continue
		}
		if !s.Current && d.Desired != nil {
			s.Desired = d.Desired.AppendJSON(nil)
		}
		reply.Shadows[name] = s
	}
	for name := range req.Shadows {
		if !c.docs[name].Exists() && name != "" {
			reply.Shadows[name] = wire.SyncShadow{Deleted: true, Version: 1 << 40}
		}
	}
	c.publish(topic.Accepted(), reply.Append(nil))
}

func (c *cloud) update(topic wire.Topic, body []byte) {
	c.reports = append(c.reports, string(body))
	u, err := shadow.ParseUpdate(body, shadow.DefaultLimits)
	var next *shadow.Document
	if err == nil {
		next, err = c.docs[topic.Shadow].Apply(u, time.Now().Unix(), shadow.DefaultLimits)
	}
	if err != nil {
		c.publish(topic.Rejected(), wire.AppendRejected(nil, err, 0, wire.ClientToken(body)))
		return
	}
	c.docs[topic.Shadow] = next
	if c.mute > 0 {
		c.mute--
		return
	}
	c.publish(topic.Accepted(), wire.AppendAccepted(nil, u, next))
}

func (c *cloud) publish(topic string, body []byte) {
	if err := c.server.Publish(topic, body, false, 1); err != nil {
		c.t.Errorf("publish %s: %v", topic, err)
	}
}

// desire changes desired of a shadow and pushes the change unless lost.
func (c *cloud) desire(name, patch string, lost bool) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	u, err := shadow.ParseUpdate([]byte(`{"state":{"desired":`+patch+`}}`), shadow.DefaultLimits)
	if err != nil {
		c.t.Fatal(err)
	}
	before := c.docs[name]
	after, err := before.Apply(u, time.Now().Unix(), shadow.DefaultLimits)
	if err != nil {
		c.t.Fatal(err)
	}
	c.docs[name] = after
	push := wire.DesiredPush{Version: after.Version, DesiredVersion: after.DesiredVersion, Patch: []byte(patch)}
	if before.Exists() {
		push.Base = before.DesiredVersion
	}
	if !lost {
		c.publish(wire.Topic{Thing: c.thing, Shadow: name}.Desired(), push.Append(nil))
	}
}

// forget deletes a shadow and pushes that.
func (c *cloud) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	push := wire.DesiredPush{Version: c.docs[name].Version + 1, Deleted: true}
	delete(c.docs, name)
	c.publish(wire.Topic{Thing: c.thing, Shadow: name}.Desired(), push.Append(nil))
}

// await waits until what is held satisfies ok, looking at it after each request.
func (c *cloud) await(what string, ok func(docs map[string]*shadow.Document) bool) {
	c.t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		done := ok(c.docs)
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-c.changed:
		case <-deadline.C:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Fatalf("waited 10 s for: %s; last reports %s", what, strings.Join(c.reports[max(0, len(c.reports)-3):], "\n"))
		}
	}
}

// start runs a node against the cloud for the length of the test.
func (c *cloud) start(cfg Config) *Node {
	c.t.Helper()
	cfg.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", c.addr)
	}
	cfg.BackoffMin, cfg.BackoffMax = 5*time.Millisecond, 20*time.Millisecond
	n := New(cfg, c.thing, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-n.Registered():
	case <-time.After(10 * time.Second):
		c.t.Fatalf("not registered after 10 s: %v", n.Problem())
	}
	return n
}
