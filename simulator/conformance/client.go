package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"

	"gnomon/shadow/wire"
)

// httpClient speaks as the AWS data plane is spoken to.
type httpClient struct {
	base  string
	about wire.Topic
	http  http.Client
}

var methods = map[Op]string{Get: http.MethodGet, Update: http.MethodPost, Delete: http.MethodDelete}

func (c *httpClient) do(ctx context.Context, op Op, body string) (answer, error) {
	target := c.base + "/things/" + url.PathEscape(c.about.Thing) + "/shadow"
	if c.about.Shadow != "" {
		target += "?name=" + url.QueryEscape(c.about.Shadow)
	}
	return c.send(ctx, methods[op], target, body)
}

func (c *httpClient) send(ctx context.Context, method, target, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if kind := resp.Header.Get("Content-Type"); kind != "application/json" && err == nil {
		err = fmt.Errorf("content type %q: %s", kind, text)
	}
	return answer{code: resp.StatusCode, body: text, kind: resp.Header.Get("x-amzn-ErrorType")}, err
}

func (c *httpClient) close() { c.http.CloseIdleConnections() }

// replies are the topics of all answers about a shadow.
func replies(about wire.Topic) (topics []string) {
	for _, op := range []wire.Op{wire.OpGet, wire.OpUpdate, wire.OpDelete} {
		about.Op = op
		topics = append(topics, about.Accepted(), about.Rejected())
	}
	return topics
}

var wireOps = map[Op]wire.Op{Get: wire.OpGet, Update: wire.OpUpdate, Delete: wire.OpDelete}

// inbox collects a client's answers. One request is under way at a time, and at
// most one answer belongs to it.
type inbox struct {
	about    wire.Topic
	received chan received
}

type received struct {
	topic string
	body  []byte
}

func newInbox(about wire.Topic) inbox { return inbox{about, make(chan received, 16)} }

func (in inbox) take(topic string, body []byte) {
	select {
	case in.received <- received{topic, bytes.Clone(body)}:
	default: // more answers than requests: the observer sees them too
	}
}

func (in inbox) answer(ctx context.Context, op Op) (answer, error) {
	about := in.about
	about.Op = wireOps[op]
	select {
	case <-ctx.Done():
		return answer{}, fmt.Errorf("no answer: %w", ctx.Err())
	case r := <-in.received:
		switch r.topic {
		case about.Accepted():
			return answer{code: http.StatusOK, body: r.body}, nil
		case about.Rejected():
			var m struct{ Code int }
			if err := json.Unmarshal(r.body, &m); err != nil {
				return answer{}, fmt.Errorf("rejected without a numeric code: %w: %s", err, r.body)
			}
			return answer{code: m.Code, body: r.body}, nil
		}
		return answer{}, fmt.Errorf("an answer on %s: %s", r.topic, r.body)
	}
}

func (in inbox) request(op Op) string {
	about := in.about
	about.Op = wireOps[op]
	return about.Request()
}

// mqtt311 is Eclipse Paho's client for MQTT 3.1.1.
type mqtt311 struct {
	inbox
	conn paho3.Client
}

func openMQTT311(cfg Config, about wire.Topic) (client, error) {
	c := &mqtt311{inbox: newInbox(about)}
	o := paho3.NewClientOptions().AddBroker("tcp://" + cfg.MQTT).SetProtocolVersion(4).SetClientID("c-" + about.Thing[:30]).
		SetUsername("?SDK=Conformance&Version=1").SetAutoReconnect(false).SetOrderMatters(true)
	c.conn = paho3.NewClient(o)
	if t := c.conn.Connect(); t.Wait() && t.Error() != nil {
		return nil, t.Error()
	}
	filters := map[string]byte{}
	for i, topic := range replies(about) {
		filters[topic] = byte(i % 2) // a mixture of both qualities of service
	}
	t := c.conn.SubscribeMultiple(filters, func(_ paho3.Client, m paho3.Message) { c.take(m.Topic(), m.Payload()) })
	if t.Wait() && t.Error() != nil {
		c.close()
		return nil, t.Error()
	}
	return c, nil
}

func (c *mqtt311) do(ctx context.Context, op Op, body string) (answer, error) {
	t := c.conn.Publish(c.request(op), 1, false, body)
	select {
	case <-t.Done():
	case <-ctx.Done():
		return answer{}, fmt.Errorf("not acknowledged: %w", ctx.Err())
	}
	if t.Error() != nil {
		return answer{}, t.Error()
	}
	return c.answer(ctx, op)
}

func (c *mqtt311) close() { c.conn.Disconnect(0) }

// mqtt5 is Eclipse Paho's client for MQTT 5.
type mqtt5 struct {
	inbox
	conn *paho.Client
}

func openMQTT5(ctx context.Context, cfg Config, about wire.Topic) (client, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", cfg.MQTT)
	if err != nil {
		return nil, err
	}
	c := &mqtt5{inbox: newInbox(about)}
	c.conn = paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			c.take(p.Packet.Topic, p.Packet.Payload)
			return true, nil
		},
	}})
	if _, err := c.conn.Connect(ctx, &paho.Connect{ClientID: "c-" + about.Thing[:30], CleanStart: true, KeepAlive: 60}); err != nil {
		nc.Close()
		return nil, err
	}
	sub := &paho.Subscribe{}
	for i, topic := range replies(about) {
		sub.Subscriptions = append(sub.Subscriptions, paho.SubscribeOptions{Topic: topic, QoS: byte(i % 2)})
	}
	if _, err := c.conn.Subscribe(ctx, sub); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *mqtt5) do(ctx context.Context, op Op, body string) (answer, error) {
	if _, err := c.conn.Publish(ctx, &paho.Publish{Topic: c.request(op), QoS: 1, Payload: []byte(body)}); err != nil {
		return answer{}, err
	}
	return c.answer(ctx, op)
}

func (c *mqtt5) close() { _ = c.conn.Disconnect(&paho.Disconnect{}) }
