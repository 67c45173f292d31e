package conformance

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"gnomon/shadow/wire"
	"gnomon/simulator/mqtt"
)

// messages is what was published about a shadow, by the end of its topic.
type messages map[string][][]byte

// observer notes what is published about a thing, over a connection of its own.
type observer struct {
	conn  *mqtt.Conn
	about wire.Topic
	fence string // topic of messages that come after all before them
	ask   string // topic of what leads to them: the same, or that of a request
	n     int
	stop  func() bool
}

func observe(ctx context.Context, cfg Config, about wire.Topic) (*observer, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", cfg.MQTT)
	if err != nil {
		return nil, err
	}
	o := &observer{about: about, fence: "conformance/" + about.Thing}
	o.ask = o.fence
	if cfg.External { // only the service knows what it has published; changes are published in their order
		fence := wire.Topic{Thing: "f" + about.Thing[1:], Op: wire.OpUpdate}
		o.ask, o.fence = fence.Request(), fence.Accepted()
	}
	if o.conn, err = mqtt.Connect(ctx, nc, mqtt.Options{ClientID: "o-" + about.Thing[:30], MaxPacket: 16 << 20}); err != nil {
		return nil, err
	}
	o.stop = context.AfterFunc(ctx, func() { _ = o.conn.Close() })
	if _, err = o.conn.Subscribe(0, "$aws/things/"+about.Thing+"/shadow/#", o.fence); err == nil {
		var p mqtt.Packet
		if p, err = o.conn.Next(); err == nil && (p.Type != mqtt.SUBACK || p.Reasons[0] > 2 || p.Reasons[1] > 2) {
			err = fmt.Errorf("SUBSCRIBE answered by %+v", p)
		}
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *observer) close() {
	o.stop()
	_ = o.conn.Close()
}

// since returns what was published since the call before. Whoever calls it has
// the answer to the request, and with it the promise that all was published.
func (o *observer) since() (messages, error) {
	o.n++
	mark := `{"state":{},"clientToken":"` + strconv.Itoa(o.n) + `"}`
	if _, err := o.conn.Publish(o.ask, []byte(mark), 0); err != nil {
		return nil, err
	}
	out := messages{}
	for {
		p, err := o.conn.Next()
		if err != nil {
			return nil, err
		}
		if p.Type != mqtt.PUBLISH {
			continue
		}
		if p.Topic == o.fence {
			if wire.ClientToken(p.Payload) == strconv.Itoa(o.n) {
				return out, nil
			}
			continue
		}
		if _, request := wire.ParseTopic(p.Topic); request && o.ask != o.fence {
			continue // another's broker shows requests to those who may see them
		}
		about, leaf, ok := wire.ParseReply(p.Topic)
		if !ok || about.Shadow != o.about.Shadow {
			return nil, fmt.Errorf("a message about another shadow: %s", p.Topic)
		}
		out[leaf] = append(out[leaf], append([]byte(nil), p.Payload...))
	}
}

// is tells whether exactly the wanted message was published.
func (m messages) is(leaf, want string) error {
	got := m[leaf]
	switch {
	case want == "":
		return nil
	case want == None && len(got) == 0:
		return nil
	case want == None:
		return fmt.Errorf("published, though there is nothing to say: %s", got)
	case len(got) != 1:
		return fmt.Errorf("%d messages, want one: %s", len(got), want)
	}
	return same(got[0], want)
}

// agree checks what holds for everything accepted: the answer is published once,
// for HTTP too unless it only read, and delta and documents are of its version.
func (m messages) agree(op Op, got answer, tr Transport) error {
	accepted := m[string(op)+"/accepted"]
	if tr == HTTP && op == Get {
		if len(m) != 0 {
			return fmt.Errorf("reading over HTTP published %s", m)
		}
		return nil
	}
	if len(accepted) != 1 || string(accepted[0]) != string(got.body) && !sameAnswer(accepted[0], got.body) {
		return fmt.Errorf("%s/accepted: %s, answered: %s", op, accepted, got.body)
	}
	for leaf, list := range m {
		if strings.HasSuffix(leaf, "/rejected") {
			return fmt.Errorf("accepted and rejected: %s", list)
		}
		if leaf == "update/delta" || leaf == "update/documents" {
			if len(list) != 1 || op != Update || versionOf(list[0]) != versionOf(got.body) {
				return fmt.Errorf("%s after %s to version %s: %s", leaf, op, versionOf(got.body), list)
			}
		}
	}
	return nil
}

// sameAnswer allows for HTTP's and MQTT's being encoded a second apart.
func sameAnswer(a, b []byte) bool { return same(a, string(b)) == nil }

// onlyRejection checks that what was refused is told nobody but who asked.
func (m messages) onlyRejection(op Op, got answer, tr Transport) error {
	if tr == HTTP {
		if len(m) != 0 {
			return fmt.Errorf("a failure over HTTP published %s", m)
		}
		return nil
	}
	if rejected := m[string(op)+"/rejected"]; len(m) != 1 || len(rejected) != 1 || string(rejected[0]) != string(got.body) {
		return fmt.Errorf("published %s", m)
	}
	return nil
}
